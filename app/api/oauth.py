"""OAuth for machines: tokens, what a token is worth, and its end. Errors have the shape of RFC 6749 section 5.2."""

from __future__ import annotations

from dataclasses import asdict

from flask import Response
from marshmallow import fields, post_dump

from app.authorization.errors import InsufficientScope
from app.authorization.scopes import INTROSPECT
from app.device_login.errors import AccessDenied, AuthorizationPending, ExpiredToken, SlowDown
from app.device_login.start import DeviceAuthorization
from app.oauth.device import start_device_authorization
from app.oauth.errors import InvalidClient, InvalidScope, UnsupportedGrantType, UnsupportedTokenType
from app.oauth.introspect import IntrospectionResult, introspect_token
from app.oauth.revoke import revoke_token
from app.oauth.tokens import TokenResponse, issue_tokens
from app.principal import Principal
from app.sessions.errors import InvalidGrant
from app.unit_of_work import UnitOfWork
from app.web.auth.presented_credentials import parse_client
from app.web.auth.requirements import client_with_scope, require
from app.web.client_info import get_client_info
from app.web.json_body import MAX_BODY_BYTES, Body, dump_json
from app.web.oauth.errors import CONTENT_TYPE, disable_caching, document_oauth_errors
from app.web.oauth.forms import Form, OAuthBlueprint
from app.web.schemas import SecretText, StrictSchema, Text
from app.web.unit_of_work import reading, writing

blp = OAuthBlueprint(
    "oauth",
    __name__,
    url_prefix="/oauth",
    description="For OAuth clients and servers that know nothing of Doorward.",
)
blp.after_request(disable_caching)

INACTIVE = dump_json({"active": False})


class ClientForm(Form):
    """The client, where it does not use HTTP Basic."""

    client_id = Text(
        max_length=256,
        metadata={
            "description": "id of an API key (`key_…`), one of `DOORWARD_CLIENTS`, or `doorward`"
        },
    )
    client_secret = SecretText(metadata={"description": "the API key"})


class TokenForm(ClientForm):
    """RFC 6749 sections 4.4 and 6, RFC 8628 section 3.4."""

    grant_type = Text(
        max_length=256,
        required=True,
        metadata={
            "description": "`client_credentials`, `refresh_token` or `urn:ietf:params:oauth:grant-type:device_code`"
        },
    )
    scope = Text(
        max_length=1024,
        load_default=None,
        metadata={"description": "scopes to have, separated by spaces; without it, all"},
    )
    refresh_token = SecretText(max_length=MAX_BODY_BYTES, load_default=None)
    device_code = SecretText(
        max_length=MAX_BODY_BYTES,
        load_default=None,
        metadata={"description": "from `/oauth/device_authorization`"},
    )


class DeviceForm(ClientForm):
    """RFC 8628 section 3.1."""

    scope = Text(
        max_length=1024,
        load_default=None,
        metadata={
            "description": "scopes to have, separated by spaces; without it, all that may be had"
        },
    )


class ShownForm(ClientForm):
    """RFC 7662 section 2.1, RFC 7009 section 2.1."""

    token = SecretText(
        max_length=MAX_BODY_BYTES,
        required=True,
        metadata={"description": "an access token, a refresh token or an API key"},
    )
    token_type_hint = Text(
        max_length=256, metadata={"description": "not needed: each kind is known by its shape"}
    )


class IssuedSchema(StrictSchema):
    """RFC 6749 section 5.1."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    scope = fields.String(required=True)
    refresh_token = fields.String(metadata={"description": "of a session"})
    refresh_expires_in = fields.Integer(
        metadata={"description": "seconds, of a session; each refresh may move it on"}
    )
    session_id = fields.String(metadata={"description": "of a session"})

    @post_dump
    def drop_missing(self, data: dict[str, object], **_: object) -> dict[str, object]:
        return {name: value for name, value in data.items() if value is not None}


class DeviceAuthorizationSchema(StrictSchema):
    """RFC 8628 section 3.2."""

    device_code = fields.String(
        required=True, metadata={"description": "the secret by which the device polls"}
    )
    user_code = fields.String(
        required=True,
        metadata={
            "description": "what a person types; case, dashes and spaces do not count",
            "example": "WDJB-MJHT",
        },
    )
    verification_uri = fields.String(
        required=True, metadata={"example": "https://auth.example.org/login/activate"}
    )
    verification_uri_complete = fields.String(
        required=True,
        metadata={"description": "the same with the code filled in; it approves nothing"},
    )
    expires_in = fields.Integer(required=True, metadata={"description": "seconds", "example": 600})
    interval = fields.Integer(
        required=True, metadata={"description": "seconds from one poll to the next", "example": 5}
    )
    session_id = fields.String(
        required=True, metadata={"description": "of the session to be; it opens nothing"}
    )


class ActiveSchema(StrictSchema):
    """RFC 7662 section 2.2. Of what is not active nothing is said but that."""

    active = fields.Boolean(required=True)
    token_type = fields.String(
        metadata={"description": "`Bearer` for an access token, `refresh_token`, `api_key`"}
    )
    scope = fields.String(
        metadata={"description": "what it may do now, which may be less than it once was"}
    )
    client_id = fields.String()
    username = fields.String()
    sub = fields.String()
    iss = fields.String()
    aud = fields.String()
    sid = fields.String(metadata={"description": "id of the session, or of the API key"})
    exp = fields.Integer()
    iat = fields.Integer()
    jti = fields.String()
    auth_time = fields.Integer(metadata={"description": "when the password was typed"})


@blp.route("/token", methods=["POST"])
@document_oauth_errors(
    *(InvalidClient, InvalidGrant, InvalidScope, UnsupportedGrantType),
    *(AuthorizationPending, SlowDown, AccessDenied, ExpiredToken),
)
@writing
@blp.form(TokenForm)
@blp.response(200, IssuedSchema)
def post_token(work: UnitOfWork, body: Body) -> TokenResponse:
    """Trade an API key, a refresh token, or a device code that was approved, for an access token.

    Until somebody has decided about a device code, the answer is 400 `authorization_pending`; 400 `slow_down` asks to wait five seconds
    longer from one poll to the next. `access_denied`, `expired_token` and `invalid_grant` end the asking.
    """
    return issue_tokens(
        work,
        get_client_info(),
        client=parse_client(),
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
    """Ask to be let in: a person types the user code at the address that is answered, and approves (RFC 8628).

    For stock clients. Programs of yours ask at `/v1/login-sessions`, which also shows a message and a check phrase.
    """
    return start_device_authorization(
        work, get_client_info(), client=parse_client(), scope=body["scope"]
    )


@blp.route("/introspect", methods=["POST"])
@document_oauth_errors(InvalidClient, InsufficientScope)
@reading
@require(client_with_scope(INTROSPECT))
@blp.form(ShownForm)
@blp.response(200, ActiveSchema)
def post_introspect(work: UnitOfWork, _principal: Principal, body: Body) -> Response:
    """Say what a credential is worth at this moment. Whoever asks needs an API key with the scope tokens:introspect."""
    return _render_introspection(introspect_token(work, token=body["token"]))


@blp.route("/revoke", methods=["POST"])
@document_oauth_errors(InvalidClient, UnsupportedTokenType)
@writing
@blp.form(ShownForm)
@blp.response(200)
def post_revoke(work: UnitOfWork, body: Body) -> Response:
    """End the session of a token, or an API key. A token that is not known is none any more, which is 200 too."""
    revoke_token(work, get_client_info(), client=parse_client(), token=body["token"])
    return Response(status=200)


def _render_introspection(found: IntrospectionResult | None) -> Response:
    known = (
        {name: value for name, value in asdict(found).items() if value is not None}
        if found
        else None
    )
    return Response(
        dump_json({"active": True} | known) if known else INACTIVE, content_type=CONTENT_TYPE
    )
