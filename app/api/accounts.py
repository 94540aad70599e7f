"""Accounts, as administrators see and keep them."""

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
from app.web.auth.credentials import admin, fresh_admin, require
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import PageSchema, StrictBoolean, StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "accounts", __name__, url_prefix="/v1/accounts", description="Accounts, for administrators."
)

MAX_ROLES = 20


class AccountSchema(StrictSchema):
    """An account as administrators see it."""

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
        metadata={"description": "since when it is deleted; after ERASE_AFTER it is erased"},
    )


class AccountsSchema(StrictSchema):
    """Accounts, the oldest first."""

    items = fields.List(fields.Nested(AccountSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class AccountsQuerySchema(PageSchema):
    """Which accounts are wanted; every condition given must hold."""

    q = Text(
        max_length=128,
        load_default=None,
        metadata={"description": "a part of the username, the address or the name"},
    )
    status = fields.String(load_default=None, validate=validate.OneOf(list(AccountStatus)))
    role = Text(max_length=32, load_default=None)


class CreateAccountSchema(StrictSchema):
    """An account to be. There is no field for a password: its owner chooses it by the mailed link."""

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
    """What to change; what is left out stays. Nothing else of an account can be changed by others."""

    status = fields.String(
        validate=validate.OneOf([AccountStatus.ACTIVE, AccountStatus.DISABLED]),
        metadata={
            "description": "active brings a disabled or deleted account back, disabled ends its sessions and lets nobody in"
        },
    )
    must_change_password = StrictBoolean(
        metadata={
            "description": "true ends its sessions; its password then opens nothing but the choice of another one"
        }
    )


@blp.route("", methods=["GET"])
@reading
@require(admin)
@blp.query(AccountsQuerySchema)
@blp.response(200, AccountsSchema)
def get_accounts(work: UnitOfWork, _principal: Principal, which: Body) -> AccountPage:
    """List and search accounts, the oldest first. Whoever comes meanwhile stands on the last page."""
    return list_accounts(work, **which)


@blp.route("", methods=["POST"])
@writing
@require(fresh_admin)
@document_problems(UsernameTaken, EmailTaken)
@blp.arguments(CreateAccountSchema)
@blp.response(201, AccountSchema)
def post_account(work: UnitOfWork, principal: Principal, body: Body) -> AccountView:
    """Open an account. Its owner is mailed a link, good for 72 hours, and chooses the password; until then nothing opens it."""
    return create_account(work, principal, get_client_info(), **body)


@blp.route("/<account_id>", methods=["GET"])
@reading
@require(admin)
@document_problems(NotFound)
@blp.response(200, AccountSchema)
def get_one_account(work: UnitOfWork, _principal: Principal, account_id: str) -> AccountView:
    """One account, also a deleted one until it is erased."""
    return get_account(work, account_id=account_id)


@blp.route("/<account_id>", methods=["PATCH"])
@writing
@require(fresh_admin)
@document_problems(NotFound, LastAdmin, AccountNotActive)
@blp.arguments(ChangeAccountSchema)
@blp.response(200, AccountSchema)
def patch_account(
    work: UnitOfWork, principal: Principal, body: Body, account_id: str
) -> AccountView:
    """Disable, enable or bring back an account, or ask for another password. What that ends, ends at once and does not come back."""
    return update_account(work, principal, get_client_info(), account_id=account_id, **body)


@blp.route("/<account_id>", methods=["DELETE"])
@writing
@require(fresh_admin)
@document_problems(NotFound, LastAdmin)
@blp.response(204)
def delete_one_account(work: UnitOfWork, principal: Principal, account_id: str) -> None:
    """Delete an account: its sessions and API keys end at once. It can be brought back until ERASE_AFTER has passed, then it is erased."""
    delete_account(work, principal, get_client_info(), account_id=account_id)


@blp.route("/<account_id>/end-sessions", methods=["POST"])
@writing
@require(fresh_admin)
@document_problems(NotFound)
@blp.response(204)
def post_end_sessions(work: UnitOfWork, principal: Principal, account_id: str) -> None:
    """Sign somebody out everywhere."""
    revoke_all_sessions(work, principal, get_client_info(), account_id=account_id)


@blp.route("/<account_id>/send-reset", methods=["POST"])
@writing
@require(fresh_admin)
@document_problems(NotFound, AccountNotActive)
@blp.response(202, AcceptedSchema)
def post_send_reset(work: UnitOfWork, principal: Principal, account_id: str) -> dict[str, str]:
    """Mail the owner a link to choose another password; whoever has none yet gets the invitation again."""
    send_reset(work, principal, get_client_info(), account_id=account_id)
    return {}
