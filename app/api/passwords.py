"""Forgetting, resetting and changing a password."""

from __future__ import annotations

from marshmallow import fields, validates

from app.api.registration import AcceptedSchema
from app.api.schemas import TokensSchema, a_password, new_password_field
from app.authentication.errors import WrongPassword
from app.confirmations.errors import InvalidToken
from app.errors import Busy
from app.passwords.change import change
from app.passwords.errors import PasswordMismatch
from app.passwords.forgot import forgot
from app.passwords.reset import reset
from app.principal import Principal
from app.rate_limits.errors import TooManyRequests
from app.sessions.tokens import Tokens
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import require, session
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.blueprint import Blueprint
from app.web.openapi.notes import answers
from app.web.rate_limit import limited
from app.web.schemas import Secret, Strict, Text
from app.web.unit_of_work import writing

blp = Blueprint(
    "passwords",
    __name__,
    url_prefix="/v1/password",
    description="Forgetting, resetting and changing a password.",
)


class ForgotSchema(Strict):
    """Either of both; `username` may be an address too, as at login."""

    username = Text(most=256, load_default=None)
    email = Text(most=256, load_default=None)


class ResetSchema(Strict):
    """The token of the mailed link, and the password to come."""

    token = Secret(most=128, required=True)
    new_password = new_password_field(required=True)
    verify_password = Secret(
        load_default=None,
        metadata={"description": "the new password once more, for forms that ask twice"},
    )


class ChangeSchema(Strict):
    """The present password, and the one to come."""

    old_password = Secret(required=True)
    new_password = new_password_field(required=True)
    verify_password = Secret(
        load_default=None,
        metadata={"description": "the new password once more, for forms that ask twice"},
    )

    @validates("old_password")
    def a_password(self, value: str, **_: object) -> None:
        a_password(value)


class ChangedSchema(TokensSchema):
    """Whose password was changed, and fresh tokens of the session that asked; every older token of the account is over."""

    refresh_token = fields.String(required=True)
    id = fields.String(required=True, attribute="account.id")
    username = fields.String(required=True, attribute="account.username")


@blp.route("/forgot", methods=["POST"])
@writing
@limited("forgot")
@blp.arguments(ForgotSchema)
@blp.response(202, AcceptedSchema)
def post_forgot(work: UnitOfWork, body: Body) -> dict[str, str]:
    """Mail a link to choose another password, if there is anyone to mail it to. The older link ends."""
    forgot(work, get_client_info(), **body)
    return {}


@blp.route("/reset", methods=["POST"])
@writing
@limited("confirm")
@answers(InvalidToken, PasswordMismatch, Busy)
@blp.arguments(ResetSchema)
@blp.response(204)
def post_reset(work: UnitOfWork, body: Body) -> None:
    """Choose another password. Ends every session of the account and signs nobody in."""
    reset(work, get_client_info(), **body)


@blp.route("/change", methods=["POST"])
@writing
@require(session)
@answers(WrongPassword, PasswordMismatch, TooManyRequests, Busy)
@blp.arguments(ChangeSchema)
@blp.response(200, ChangedSchema)
def post_change(work: UnitOfWork, principal: Principal, body: Body) -> Tokens:
    """Change the password. Ends every other session of the account; this one goes on with the tokens in the answer."""
    return change(work, principal, get_client_info(), **body)
