"""OAuth errors. The codes are those of the RFCs, sent as the member `error`."""

from __future__ import annotations

from app.errors import Problem

CHALLENGE = 'Basic realm="doorward", charset="UTF-8"'


class InvalidRequest(Problem):
    """A malformed request, or a client that authenticates twice (RFC 6749 section 5.2)."""

    code = "invalid_request"
    title = "Invalid OAuth request"
    status = 400


class InvalidClient(Problem):
    """Client authentication failed, for any reason (RFC 6749 section 5.2)."""

    code = "invalid_client"
    title = "Client authentication failed"
    status = 401

    def __init__(
        self,
        detail: str = (
            "Send the id of an API key and the API key, "
            "by HTTP Basic or as client_id and client_secret."
        ),
    ) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": CHALLENGE})


class UnsupportedGrantType(Problem):
    """An unknown grant type (RFC 6749 section 5.2)."""

    code = "unsupported_grant_type"
    title = "Unsupported grant type"
    status = 400


class InvalidScope(Problem):
    """Malformed scopes, or scopes that the client does not have (RFC 6749 section 5.2)."""

    code = "invalid_scope"
    title = "Invalid scope"
    status = 400


class UnsupportedTokenType(Problem):
    """A token that cannot be revoked on its own (RFC 7009 section 2.2.1)."""

    code = "unsupported_token_type"
    title = "Unsupported token type"
    status = 400
