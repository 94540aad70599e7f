"""Endpoints for roles and memberships."""

from __future__ import annotations

from marshmallow import fields, validate

from app.authorization.check import MAX_CHECKS, RoleCheck, check_roles
from app.authorization.errors import LastAdmin
from app.authorization.memberships.manage import grant_membership, revoke_membership
from app.authorization.roles.assign import grant_role, revoke_role
from app.authorization.show import MemberPage, get_roles, list_members
from app.errors import InvalidInput, NotFound
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import admin, credential, recent_authentication, require
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import PageSchema, StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint("roles", __name__, url_prefix="/v1", description="Roles and memberships.")


class ResourceQuerySchema(StrictSchema):
    """A resource, to include the roles there: both fields, or neither."""

    resource = Text(max_length=32, load_default=None, metadata={"example": "list"})
    id = Text(max_length=64, load_default=None, attribute="resource_id", metadata={"example": "7"})


class RolesSchema(StrictSchema):
    """Global roles, followed by the roles at the resource.

    These are named `<resource>-<id>-<level>`, one for each level that the account has except the
    lowest, which every account has.
    """

    roles = fields.List(
        fields.String(),
        required=True,
        metadata={"example": ["admin", "list-7-invitee", "list-7-member"]},
    )


class LevelSchema(StrictSchema):
    """The level of a membership."""

    level = Text(
        max_length=32,
        required=True,
        metadata={"description": "one of DOORWARD_PRIVACY_LEVELS", "example": "member"},
    )


class MemberSchema(StrictSchema):
    """A member of a resource."""

    account_id = fields.String(required=True)
    username = fields.String(required=True)
    level = fields.String(required=True)
    granted_at = Timestamp(required=True)


class MembersSchema(StrictSchema):
    """A page of members, sorted by account id."""

    items = fields.List(fields.Nested(MemberSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class CheckSchema(StrictSchema):
    """A check for a global role or, with resource, id and level, for that level there or more."""

    account_id = Text(max_length=64, required=True)
    role = Text(max_length=32)
    resource = Text(max_length=32)
    id = Text(max_length=64)
    level = Text(max_length=32)


class ChecksSchema(StrictSchema):
    """Up to 100 checks, in a body of at most 16 KiB."""

    checks = fields.List(
        fields.Nested(CheckSchema),
        required=True,
        validate=validate.Length(1, MAX_CHECKS, error=f"must hold 1 to {MAX_CHECKS} checks"),
    )


class DecisionsSchema(StrictSchema):
    """The decisions, in the order of the checks."""

    decisions = fields.List(fields.Boolean(), required=True)


@blp.route("/accounts/<account_id>/roles", methods=["GET"])
@reading
@require(credential)
@document_problems(NotFound)
@blp.query(ResourceQuerySchema)
@blp.response(200, RolesSchema)
def get_account_roles(
    work: UnitOfWork, principal: Principal, query: Body, account_id: str
) -> dict[str, tuple[str, ...]]:
    """Get the current roles of an account.

    You can read your own roles. Administrators and credentials with the scope `roles:read` can
    read the roles of every account. A disabled account has no roles.
    """
    return {"roles": get_roles(work, principal, account_id=account_id, **query)}


@blp.route("/accounts/<account_id>/roles/<role>", methods=["PUT"])
@writing
@require(admin & recent_authentication)
@document_problems(NotFound, InvalidInput)
@blp.response(204)
def put_role(work: UnitOfWork, principal: Principal, account_id: str, role: str) -> None:
    """Grant `admin` or a role of DOORWARD_ROLES, effective from the next request."""
    grant_role(work, principal, get_client_info(), account_id=account_id, role=role)


@blp.route("/accounts/<account_id>/roles/<role>", methods=["DELETE"])
@writing
@require(admin & recent_authentication)
@document_problems(NotFound, InvalidInput, LastAdmin)
@blp.response(204)
def delete_role(work: UnitOfWork, principal: Principal, account_id: str, role: str) -> None:
    """Revoke a role, effective from the next request.

    The last active administrator cannot lose the role `admin`.
    """
    revoke_role(work, principal, get_client_info(), account_id=account_id, role=role)


@blp.route("/memberships/<resource>/<resource_id>", methods=["GET"])
@reading
@require(credential)
@blp.query(PageSchema)
@blp.response(200, MembersSchema)
def get_memberships(
    work: UnitOfWork, principal: Principal, query: Body, resource: str, resource_id: str
) -> MemberPage:
    """List the members of a resource.

    For those who may change its memberships, and credentials with the scope `roles:read`.
    """
    return list_members(work, principal, resource=resource, resource_id=resource_id, **query)


@blp.route("/memberships/<resource>/<resource_id>/<account_id>", methods=["PUT"])
@writing
@require(credential)
@document_problems(NotFound)
@blp.arguments(LevelSchema)
@blp.response(204)
def put_membership(
    work: UnitOfWork,
    principal: Principal,
    body: Body,
    *,
    resource: str,
    resource_id: str,
    account_id: str,
) -> None:
    """Set the level of an account at a resource.

    Administrators and credentials with the scope `memberships:write:<resource>` can set every
    level. Members with at least the level DOORWARD_MANAGING_LEVEL can set levels up to their own,
    for accounts that are not above their own level.
    """
    grant_membership(
        work,
        principal,
        get_client_info(),
        resource=resource,
        resource_id=resource_id,
        account_id=account_id,
        **body,
    )


@blp.route("/memberships/<resource>/<resource_id>/<account_id>", methods=["DELETE"])
@writing
@require(credential)
@document_problems(NotFound, InvalidInput)
@blp.response(204)
def delete_membership(
    work: UnitOfWork, principal: Principal, resource: str, resource_id: str, account_id: str
) -> None:
    """Remove an account from a resource.

    The same rules apply as for setting a level; in addition, every member can leave.
    """
    revoke_membership(
        work,
        principal,
        get_client_info(),
        resource=resource,
        resource_id=resource_id,
        account_id=account_id,
    )


@blp.route("/roles/check", methods=["POST"])
@reading
@require(credential)
@blp.arguments(ChecksSchema)
@blp.response(200, DecisionsSchema)
def post_check(work: UnitOfWork, principal: Principal, body: Body) -> dict[str, tuple[bool, ...]]:
    """Check up to 100 roles and levels at once.

    You can check your own account. Administrators and credentials with the scope `roles:read` can
    check every account. An unknown role or level is an error (422), never `false`. Unknown and
    disabled accounts have no roles; every other account has the lowest level everywhere.
    """
    return {
        "decisions": check_roles(
            work, principal, checks=[RoleCheck(**check) for check in body["checks"]]
        )
    }
