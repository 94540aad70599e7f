"""Forgotten passwords, resets and changes."""

from __future__ import annotations

from marshmallow import fields

from app.api.registration import AcceptedSchema
from app.api.schemas import TokensSchema, build_current_password_field, build_new_password_field
from app.authentication.errors import WrongPassword
from app.confirmations.errors import InvalidToken
from app.errors import Busy
from app.passwords.change import change_password
from app.passwords.errors import PasswordMismatch
from app.passwords.forgot import request_password_reset
from app.passwords.reset import reset_password
from app.principal import Principal
from app.rate_limits.errors import TooManyRequests
from app.sessions.tokens import SessionTokens
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import require, session
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.rate_limit import rate_limit
from app.web.routes import hashes_password
from app.web.schemas import SecretText, StrictSchema, Text
from app.web.unit_of_work import writing

blp = Blueprint(
    "passwords",
    __name__,
    url_prefix="/v1/password",
    description="Resetting and changing passwords.",
)


class ForgotSchema(StrictSchema):
    """A username or an email address. `username` accepts both, as at login."""

    username = Text(max_length=256, load_default=None)
    email = Text(max_length=256, load_default=None)


class ResetSchema(StrictSchema):
    """The token of an emailed link, and the new password."""

    token = SecretText(max_length=128, required=True)
    new_password = build_new_password_field(required=True)
    verify_password = SecretText(
        load_default=None,
        metadata={"description": "repetition of the new password, for forms that ask for it"},
    )


class ChangeSchema(StrictSchema):
    """The current and the new password."""

    old_password = build_current_password_field()
    new_password = build_new_password_field(required=True)
    verify_password = SecretText(
        load_default=None,
        metadata={"description": "repetition of the new password, for forms that ask for it"},
    )


class ChangedSchema(TokensSchema):
    """The account, and new tokens of this session. All older tokens of the account are invalid."""

    refresh_token = fields.String(required=True)
    id = fields.String(required=True, attribute="account.id")
    username = fields.String(required=True, attribute="account.username")


@blp.route("/forgot", methods=["POST"])
@writing
@rate_limit("forgot")
@blp.arguments(ForgotSchema)
@blp.response(202, AcceptedSchema)
def post_forgot(work: UnitOfWork, body: Body) -> dict[str, str]:
    """Request a link to reset a password.

    The answer is the same for unknown users. A new link replaces the older one.
    """
    request_password_reset(work, get_client_info(), **body)
    return {}


@blp.route("/reset", methods=["POST"])
@hashes_password
@writing
@rate_limit("confirm")
@document_problems(InvalidToken, PasswordMismatch, Busy)
@blp.arguments(ResetSchema)
@blp.response(204)
def post_reset(work: UnitOfWork, body: Body) -> None:
    """Reset a password with an emailed link.

    All sessions of the account are revoked. You are not logged in.
    """
    reset_password(work, get_client_info(), **body)


@blp.route("/change", methods=["POST"])
@hashes_password
@writing
@require(session)
@document_problems(WrongPassword, PasswordMismatch, TooManyRequests, Busy)
@blp.arguments(ChangeSchema)
@blp.response(200, ChangedSchema)
def post_change(work: UnitOfWork, principal: Principal, body: Body) -> SessionTokens:
    """Change your password.

    All other sessions of the account are revoked. This one continues with the tokens in the answer.
    """
    return change_password(work, principal, get_client_info(), **body)
