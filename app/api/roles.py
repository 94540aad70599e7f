"""What accounts may do: roles, memberships, and questions about both."""

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
from app.web.auth.credentials import credential, fresh_admin, require
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import PageSchema, StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "roles",
    __name__,
    url_prefix="/v1",
    description="What accounts may do: roles, memberships, and questions about both.",
)


class ResourceQuerySchema(StrictSchema):
    """A thing of an application, to have the roles at that too: both names, or neither."""

    resource = Text(max_length=32, load_default=None, metadata={"example": "list"})
    id = Text(max_length=64, load_default=None, attribute="resource_id", metadata={"example": "7"})


class RolesSchema(StrictSchema):
    """Global roles, then `<resource>-<id>-<level>` for every level that the account has at the thing but the lowest, which all have."""

    roles = fields.List(
        fields.String(),
        required=True,
        metadata={"example": ["admin", "list-7-invitee", "list-7-member"]},
    )


class LevelSchema(StrictSchema):
    """How far somebody is let in."""

    level = Text(
        max_length=32,
        required=True,
        metadata={"description": "a level of DOORWARD_PRIVACY_LEVELS", "example": "member"},
    )


class MemberSchema(StrictSchema):
    """An account that was let in."""

    account_id = fields.String(required=True)
    username = fields.String(required=True)
    level = fields.String(required=True)
    granted_at = Timestamp(required=True)


class MembersSchema(StrictSchema):
    """Members in the order of their ids."""

    items = fields.List(fields.Nested(MemberSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class CheckSchema(StrictSchema):
    """Has the account this role; or, with resource, id and level, that level or a higher one there?"""

    account_id = Text(max_length=64, required=True)
    role = Text(max_length=32)
    resource = Text(max_length=32)
    id = Text(max_length=64)
    level = Text(max_length=32)


class ChecksSchema(StrictSchema):
    """Up to 100 questions, in a body of at most 16 KiB."""

    checks = fields.List(
        fields.Nested(CheckSchema),
        required=True,
        validate=validate.Length(1, MAX_CHECKS, error=f"must hold 1 to {MAX_CHECKS} questions"),
    )


class DecisionsSchema(StrictSchema):
    """An answer to each, in the order of the questions."""

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
    """What the account may do now. For oneself, administrators, and credentials with the scope `roles:read`.

    An account that is disabled may do nothing.
    """
    return {"roles": get_roles(work, principal, account_id=account_id, **query)}


@blp.route("/accounts/<account_id>/roles/<role>", methods=["PUT"])
@writing
@require(fresh_admin)
@document_problems(NotFound, InvalidInput)
@blp.response(204)
def put_role(work: UnitOfWork, principal: Principal, account_id: str, role: str) -> None:
    """Give the account a role that DOORWARD_ROLES names, or `admin`. It counts from the next check on."""
    grant_role(work, principal, get_client_info(), account_id=account_id, role=role)


@blp.route("/accounts/<account_id>/roles/<role>", methods=["DELETE"])
@writing
@require(fresh_admin)
@document_problems(NotFound, InvalidInput, LastAdmin)
@blp.response(204)
def delete_role(work: UnitOfWork, principal: Principal, account_id: str, role: str) -> None:
    """Take the role from the account; it is gone from the next check on. The last active administrator keeps `admin`."""
    revoke_role(work, principal, get_client_info(), account_id=account_id, role=role)


@blp.route("/memberships/<resource>/<resource_id>", methods=["GET"])
@reading
@require(credential)
@blp.query(PageSchema)
@blp.response(200, MembersSchema)
def get_memberships(
    work: UnitOfWork, principal: Principal, query: Body, resource: str, resource_id: str
) -> MemberPage:
    """Who was let in to a thing. For whoever may change that, and credentials with the scope `roles:read`."""
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
    """Let the account in at this level, instead of another one.

    For credentials with the scope `memberships:write:<resource>`, which administrators have: at every level. For members from
    DOORWARD_MANAGING_LEVEL on: at levels up to their own, and accounts that stand no higher.
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
    """End a membership. For the same, and for everybody who leaves."""
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
    """Answer up to 100 questions. For administrators, credentials with the scope `roles:read`, and everybody about himself.

    A role or level that does not exist is a 422 and never a no. Accounts that are unknown or disabled have nothing; every other one has
    the lowest level everywhere.
    """
    return {
        "decisions": check_roles(
            work, principal, checks=[RoleCheck(**check) for check in body["checks"]]
        )
    }
