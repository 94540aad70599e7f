"""OAuth endpoints. Errors have the format of RFC 6749 section 5.2."""

from __future__ import annotations

from flask import Response, request
from marshmallow import fields, post_dump

from app.authorization.errors import InsufficientScope
from app.authorization.rights import INTROSPECT
from app.device_login.errors import AccessDenied, AuthorizationPending, ExpiredToken, SlowDown
from app.device_login.start import DeviceAuthorization
from app.oauth.errors import InvalidClient, InvalidScope, UnsupportedGrantType, UnsupportedTokenType
from app.oauth.introspect import introspect_token
from app.oauth.revoke import revoke_token
from app.oauth.tokens import TokenResponse, issue_tokens, start_device_authorization
from app.principal import Principal
from app.sessions.errors import InvalidGrant
from app.unit_of_work import UnitOfWork
from app.web.auth.presented_credentials import parse_client
from app.web.auth.requirements import client_with_scope, require
from app.web.client_info import get_client_info
from app.web.introspection import build_introspection_answer
from app.web.json_body import MAX_BODY_BYTES, Body
from app.web.oauth.errors import disable_caching, document_oauth_errors
from app.web.oauth.forms import Form, OAuthBlueprint
from app.web.problems import to_response
from app.web.schemas import SecretText, StrictSchema, Text
from app.web.unit_of_work import reading, writing

blp = OAuthBlueprint(
    "oauth",
    __name__,
    url_prefix="/oauth",
    description="OAuth 2.0 endpoints for standard clients and resource servers.",
)
blp.after_request(disable_caching)


class ClientForm(Form):
    """The client's credentials, unless it uses HTTP Basic."""

    client_id = Text(
        max_length=256,
        metadata={
            "description": "id of an API key (`key_…`), one of `DOORWARD_CLIENTS`, or `doorward`"
        },
    )
    client_secret = SecretText(metadata={"description": "the API key"})


class TokenForm(ClientForm):
    """A token request (RFC 6749 sections 4.4 and 6, RFC 8628 section 3.4)."""

    grant_type = Text(
        max_length=256,
        required=True,
        metadata={
            "description": (
                "`client_credentials`, `refresh_token` or "
                "`urn:ietf:params:oauth:grant-type:device_code`"
            )
        },
    )
    scope = Text(
        max_length=1024,
        load_default=None,
        metadata={"description": "requested scopes, separated by spaces; default: all"},
    )
    refresh_token = SecretText(max_length=MAX_BODY_BYTES, load_default=None)
    device_code = SecretText(
        max_length=MAX_BODY_BYTES,
        load_default=None,
        metadata={"description": "from `/oauth/device_authorization`"},
    )


class DeviceForm(ClientForm):
    """A device authorization request (RFC 8628 section 3.1)."""

    scope = Text(
        max_length=1024,
        load_default=None,
        metadata={
            "description": "requested scopes, separated by spaces; default: all of the account"
        },
    )


class TokenReferenceForm(ClientForm):
    """A token to introspect (RFC 7662 section 2.1) or revoke (RFC 7009 section 2.1)."""

    token = SecretText(
        max_length=MAX_BODY_BYTES,
        required=True,
        metadata={"description": "an access token, a refresh token or an API key"},
    )
    token_type_hint = Text(
        max_length=256,
        metadata={"description": "ignored: the format of the token determines its type"},
    )


class TokenResponseSchema(StrictSchema):
    """A token response (RFC 6749 section 5.1)."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    scope = fields.String(required=True)
    refresh_token = fields.String(metadata={"description": "for sessions only"})
    refresh_expires_in = fields.Integer(
        metadata={"description": "seconds; for sessions only; a refresh may extend it"}
    )
    session_id = fields.String(metadata={"description": "for sessions only"})

    @post_dump
    def drop_missing(self, data: dict[str, object], **_: object) -> dict[str, object]:
        return {name: value for name, value in data.items() if value is not None}


class DeviceAuthorizationSchema(StrictSchema):
    """A device authorization response (RFC 8628 section 3.2)."""

    device_code = fields.String(
        required=True, metadata={"description": "secret with which the device polls"}
    )
    user_code = fields.String(
        required=True,
        metadata={
            "description": "code for the user to enter; case, dashes and spaces are ignored",
            "example": "WDJB-MJHT",
        },
    )
    verification_uri = fields.String(
        required=True, metadata={"example": "https://auth.example.org/login/activate"}
    )
    verification_uri_complete = fields.String(
        required=True,
        metadata={
            "description": "the same URL with the code filled in; the user still has to approve"
        },
    )
    expires_in = fields.Integer(required=True, metadata={"description": "seconds", "example": 600})
    interval = fields.Integer(
        required=True, metadata={"description": "seconds between two polls", "example": 5}
    )
    session_id = fields.String(
        required=True,
        metadata={"description": "id of the session that will be created; not a credential"},
    )


class IntrospectionSchema(StrictSchema):
    """An introspection response (RFC 7662 section 2.2). Inactive tokens have `active` alone."""

    active = fields.Boolean(required=True)
    token_type = fields.String(
        metadata={"description": "`Bearer` (an access token), `refresh_token` or `api_key`"}
    )
    scope = fields.String(metadata={"description": "current scopes; may be fewer than at issuance"})
    client_id = fields.String()
    username = fields.String()
    sub = fields.String()
    iss = fields.String()
    aud = fields.String()
    sid = fields.String(metadata={"description": "id of the session or of the API key"})
    exp = fields.Integer()
    iat = fields.Integer()
    jti = fields.String()
    auth_time = fields.Integer(metadata={"description": "time of the password authentication"})


@blp.route("/token", methods=["POST"])
@document_oauth_errors(
    *(InvalidClient, InvalidGrant, InvalidScope, UnsupportedGrantType),
    *(AuthorizationPending, SlowDown, AccessDenied, ExpiredToken),
)
@writing
@blp.form(TokenForm)
@blp.response(200, TokenResponseSchema)
def post_token(work: UnitOfWork, body: Body) -> TokenResponse:
    """Exchange an API key, a refresh token or an approved device code for an access token.

    Until a user decides about a device code, the response is 400 `authorization_pending`. After 400
    `slow_down`, add five seconds to the polling interval. After `access_denied`, `expired_token` or
    `invalid_grant`, stop polling.
    """
    return issue_tokens(
        work,
        get_client_info(),
        client=parse_client(request),
        grant_type=body["grant_type"],
        scope=body["scope"],
        refresh_token=body["refresh_token"],
        device_code=body["device_code"],
    )


@blp.route("/device_authorization", methods=["POST"])
@document_oauth_errors(InvalidClient, InvalidScope)
@writing
@blp.form(DeviceForm)
@blp.response(200, DeviceAuthorizationSchema)
def post_device_authorization(work: UnitOfWork, body: Body) -> DeviceAuthorization:
    """Start a device login (RFC 8628).

    The user enters the user code at the verification URL and approves. This endpoint is for
    standard clients. `/v1/login-sessions` also supports a message and a check phrase.
    """
    return start_device_authorization(
        work, get_client_info(), client=parse_client(request), scope=body["scope"]
    )


@blp.route("/introspect", methods=["POST"])
@document_oauth_errors(InvalidClient, InsufficientScope)
@reading
@require(client_with_scope(INTROSPECT))
@blp.form(TokenReferenceForm)
@blp.response(200, IntrospectionSchema)
def post_introspect(work: UnitOfWork, _principal: Principal, body: Body) -> Response:
    """Report the current state of a token or API key.

    Requires an API key with the scope `tokens:introspect`.
    """
    return to_response(build_introspection_answer(introspect_token(work, token=body["token"])))


@blp.route("/revoke", methods=["POST"])
@document_oauth_errors(InvalidClient, UnsupportedTokenType)
@writing
@blp.form(TokenReferenceForm)
@blp.response(200)
def post_revoke(work: UnitOfWork, body: Body) -> Response:
    """Log out the session of a token, or delete an API key.

    The response is 200 for unknown and inactive tokens too.
    """
    revoke_token(work, get_client_info(), client=parse_client(request), token=body["token"])
    return Response(status=200)
