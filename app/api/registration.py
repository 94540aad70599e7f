"""Registration of accounts."""

from __future__ import annotations

from marshmallow import fields, validate

from app.accounts.profile_rules import LANGUAGE_TAG
from app.api.schemas import AccountSummarySchema, build_name_field, build_new_password_field
from app.confirmations.errors import InvalidToken
from app.errors import Busy
from app.registration.confirm import confirm_registration
from app.registration.errors import RegistrationClosed, UsernameTaken
from app.registration.register import register
from app.registration.resend import resend_confirmation
from app.unit_of_work import UnitOfWork
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.rate_limit import rate_limit
from app.web.routes import hashes_password
from app.web.schemas import SecretText, StrictSchema, Text
from app.web.unit_of_work import writing

blp = Blueprint(
    "registration", __name__, url_prefix="/v1/register", description="Registration of accounts."
)

# In Python, $ alone would also match before a line break at the end.
LOCALE = validate.Regexp(
    rf"^{LANGUAGE_TAG}$(?!\n)", error="must be a language tag like en or de-AT"
)


class RegisterSchema(StrictSchema):
    """A new account. The password can also be chosen at confirmation."""

    username = Text(max_length=256, required=True)
    email = Text(max_length=256, required=True)
    name = build_name_field(required=True)
    password = build_new_password_field()
    locale = fields.String(validate=LOCALE, load_default=None)


class PendingSchema(StrictSchema):
    """The answer to a registration, the same whether or not the email address is known."""

    status = fields.Constant("pending", required=True)
    registration = fields.String(
        required=True, metadata={"description": "handle to send with the emailed code"}
    )
    next = fields.Constant("confirm_email", required=True)


class ConfirmSchema(StrictSchema):
    """Token and password for an emailed link, or registration and code.

    With a code, send a password only if none was chosen at registration.
    """

    token = SecretText(max_length=128, load_default=None)
    registration = Text(max_length=64, load_default=None)
    code = SecretText(max_length=32, load_default=None)
    password = build_new_password_field()


class ConfirmedSchema(StrictSchema):
    """The new account."""

    account = fields.Nested(AccountSummarySchema, required=True)


class ResendSchema(StrictSchema):
    """The handle of a registration, or an email address."""

    registration = Text(max_length=64, load_default=None)
    email = Text(max_length=256, load_default=None)


class AcceptedSchema(StrictSchema):
    """The request was accepted. If an account or registration matches, an email is sent."""

    status = fields.Constant("accepted", required=True)


@blp.route("", methods=["POST"])
@hashes_password
@writing
@rate_limit("register")
@document_problems(UsernameTaken, RegistrationClosed, Busy)
@blp.arguments(RegisterSchema)
@blp.response(202, PendingSchema)
def post_register(work: UnitOfWork, body: Body) -> dict[str, str]:
    """Register an account.

    A confirmation email is sent. The account opens when the email address is confirmed.
    """
    return {"registration": register(work, get_client_info(), **body)}


@blp.route("/confirm", methods=["POST"])
@hashes_password
@writing
@rate_limit("confirm")
@document_problems(InvalidToken, Busy)
@blp.arguments(ConfirmSchema)
@blp.response(200, ConfirmedSchema)
def post_confirm(work: UnitOfWork, body: Body) -> dict[str, object]:
    """Confirm an email address and open the account."""
    return {"account": confirm_registration(work, get_client_info(), **body)}


@blp.route("/resend", methods=["POST"])
@writing
@rate_limit("resend")
@blp.arguments(ResendSchema)
@blp.response(202, AcceptedSchema)
def post_resend(work: UnitOfWork, body: Body) -> dict[str, str]:
    """Send the confirmation email again.

    The answer is the same if nothing matches. The new link and code replace the older ones.
    """
    resend_confirmation(work, get_client_info(), **body)
    return {}
