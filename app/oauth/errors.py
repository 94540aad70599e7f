"""What an OAuth client can be told that nobody else is; the codes are those of the standards, on the wire the member `error`."""

from __future__ import annotations

from app.errors import Problem

CHALLENGE = 'Basic realm="doorward", charset="UTF-8"'


class InvalidRequest(Problem):
    """A parameter is missing, malformed or there twice, or a client authenticates in two ways (RFC 6749 section 5.2)."""

    code = "invalid_request"
    title = "The request is not one of OAuth"
    status = 400


class InvalidClient(Problem):
    """The client is unknown, its secret is wrong or over, or there was none: one answer (RFC 6749 section 5.2)."""

    code = "invalid_client"
    title = "The client could not be authenticated"
    status = 401

    def __init__(
        self,
        detail: str = "Send the id of an API key and the key, by HTTP Basic or as client_id and client_secret.",
    ) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": CHALLENGE})


class UnsupportedGrantType(Problem):
    """A grant that does not exist here (RFC 6749 section 5.2)."""

    code = "unsupported_grant_type"
    title = "This grant is not given here"
    status = 400


class InvalidScope(Problem):
    """Scopes that are none, or that the client does not have (RFC 6749 section 5.2)."""

    code = "invalid_scope"
    title = "These scopes cannot be given"
    status = 400


class UnsupportedTokenType(Problem):
    """A token that cannot be ended by itself (RFC 7009 section 2.2.1)."""

    code = "unsupported_token_type"
    title = "This kind of token cannot be revoked"
    status = 400
