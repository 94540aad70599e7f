"""Endpoints for the administration of accounts."""

from __future__ import annotations

from marshmallow import fields, validate

from app.accounts.models import AccountStatus
from app.admin.create_account import create_account
from app.admin.errors import AccountNotActive, EmailTaken
from app.admin.list_accounts import AccountPage, list_accounts
from app.admin.show_account import AccountView, get_account
from app.admin.update_account import revoke_all_sessions, send_reset, update_account
from app.api.registration import LOCALE, AcceptedSchema
from app.api.schemas import build_name_field
from app.authorization.errors import LastAdmin
from app.errors import NotFound
from app.lifecycle.delete import delete_account
from app.principal import Principal
from app.registration.errors import UsernameTaken
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import admin, recent_authentication, require
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import PageSchema, StrictBoolean, StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "accounts", __name__, url_prefix="/v1/accounts", description="Administration of accounts."
)

MAX_ROLES = 20


class AccountSchema(StrictSchema):
    """An account."""

    id = fields.String(required=True)
    username = fields.String(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    locale = fields.String(required=True)
    status = fields.String(required=True, metadata={"enum": list(AccountStatus)})
    roles = fields.List(fields.String(), required=True)
    must_change_password = fields.Boolean(required=True)
    created_at = Timestamp(required=True)
    last_login_at = Timestamp(required=True, allow_none=True)
    deleted_at = Timestamp(
        required=True,
        allow_none=True,
        metadata={"description": "time of deletion; the account is erased ERASE_AFTER later"},
    )


class AccountsSchema(StrictSchema):
    """A page of accounts, oldest first."""

    items = fields.List(fields.Nested(AccountSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class AccountsQuerySchema(PageSchema):
    """Filters for accounts; an account must match all of them."""

    q = Text(
        max_length=128,
        load_default=None,
        metadata={"description": "part of the username, email address or name"},
    )
    status = fields.String(load_default=None, validate=validate.OneOf(list(AccountStatus)))
    role = Text(max_length=32, load_default=None)


class CreateAccountSchema(StrictSchema):
    """A new account. Its owner chooses the password through an emailed link."""

    username = Text(max_length=256, required=True)
    email = Text(max_length=256, required=True)
    name = build_name_field(required=True)
    locale = fields.String(validate=LOCALE, load_default=None)
    roles = fields.List(
        Text(max_length=32),
        load_default=list,
        validate=validate.Length(max=MAX_ROLES, error=f"must be at most {MAX_ROLES}"),
    )


class ChangeAccountSchema(StrictSchema):
    """The properties to change."""

    status = fields.String(
        validate=validate.OneOf([AccountStatus.ACTIVE, AccountStatus.DISABLED]),
        metadata={
            "description": "`active` enables or restores the account; `disabled` revokes its "
            "sessions and prevents logins"
        },
    )
    must_change_password = StrictBoolean(
        metadata={
            "description": "`true` revokes the account's sessions and requires a new password at "
            "the next login"
        }
    )


@blp.route("", methods=["GET"])
@reading
@require(admin)
@blp.query(AccountsQuerySchema)
@blp.response(200, AccountsSchema)
def get_accounts(work: UnitOfWork, _principal: Principal, which: Body) -> AccountPage:
    """List and search accounts, oldest first."""
    return list_accounts(work, **which)


@blp.route("", methods=["POST"])
@writing
@require(admin & recent_authentication)
@document_problems(UsernameTaken, EmailTaken)
@blp.arguments(CreateAccountSchema)
@blp.response(201, AccountSchema)
def post_account(work: UnitOfWork, principal: Principal, body: Body) -> AccountView:
    """Create an account.

    Its owner gets an email with a link, valid for 72 hours, to choose a password. Login is not
    possible until then.
    """
    return create_account(work, principal, get_client_info(), **body)


@blp.route("/<account_id>", methods=["GET"])
@reading
@require(admin)
@document_problems(NotFound)
@blp.response(200, AccountSchema)
def get_one_account(work: UnitOfWork, _principal: Principal, account_id: str) -> AccountView:
    """Get an account. Deleted accounts are included until they are erased."""
    return get_account(work, account_id=account_id)


@blp.route("/<account_id>", methods=["PATCH"])
@writing
@require(admin & recent_authentication)
@document_problems(NotFound, LastAdmin, AccountNotActive)
@blp.arguments(ChangeAccountSchema)
@blp.response(200, AccountSchema)
def patch_account(
    work: UnitOfWork, principal: Principal, body: Body, account_id: str
) -> AccountView:
    """Disable, enable or restore an account, or require a new password.

    Sessions that this revokes stay revoked if you undo the change.
    """
    return update_account(work, principal, get_client_info(), account_id=account_id, **body)


@blp.route("/<account_id>", methods=["DELETE"])
@writing
@require(admin & recent_authentication)
@document_problems(NotFound, LastAdmin)
@blp.response(204)
def delete_one_account(work: UnitOfWork, principal: Principal, account_id: str) -> None:
    """Delete an account.

    Its sessions and API keys are revoked at once. You can restore the account until it is erased,
    ERASE_AFTER later.
    """
    delete_account(work, principal, get_client_info(), account_id=account_id)


@blp.route("/<account_id>/end-sessions", methods=["POST"])
@writing
@require(admin & recent_authentication)
@document_problems(NotFound)
@blp.response(204)
def post_end_sessions(work: UnitOfWork, principal: Principal, account_id: str) -> None:
    """Revoke all sessions of an account."""
    revoke_all_sessions(work, principal, get_client_info(), account_id=account_id)


@blp.route("/<account_id>/send-reset", methods=["POST"])
@writing
@require(admin & recent_authentication)
@document_problems(NotFound, AccountNotActive)
@blp.response(202, AcceptedSchema)
def post_send_reset(work: UnitOfWork, principal: Principal, account_id: str) -> dict[str, str]:
    """Email the owner a link to choose a new password.

    An owner who has not chosen a password yet gets the invitation again.
    """
    send_reset(work, principal, get_client_info(), account_id=account_id)
    return {}
