"""The feed of revocations for applications that verify tokens themselves."""

from __future__ import annotations

from flask import Response
from marshmallow import fields, post_dump

from app.authorization.rights import READ_REVOCATIONS
from app.credential_status.feed import list_revocations
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.answers import dump_json
from app.web.auth.requirements import require, scoped
from app.web.caching import build_cacheable_response
from app.web.json_body import Body
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading

blp = Blueprint(
    "revocations",
    __name__,
    url_prefix="/v1",
    description="Revocations, for applications that verify tokens themselves.",
)
MAX_AGE_SECONDS = 1


class RevocationsQuerySchema(StrictSchema):
    """The position to continue from."""

    since = Text(
        max_length=256,
        load_default=None,
        metadata={
            "description": "`next` of the previous response; default: all retained revocations"
        },
    )


class RevocationSchema(StrictSchema):
    """A revocation or change. It may appear twice."""

    kind = fields.String(required=True, metadata={"enum": ["session", "account", "key", "global"]})
    ref = fields.String(
        required=True,
        metadata={"description": "id of the session, account or key; of `global`, the signing key"},
    )
    account_id = fields.String(metadata={"description": "id of the account"})
    epoch = fields.Integer(
        required=True,
        metadata={
            "description": "for an account: tokens of its sessions with a lower `ep` are invalid"
        },
    )
    roles_version = fields.Integer(
        required=True,
        metadata={
            "description": "for an account: tokens with a lower `rv` contain outdated rights"
        },
    )
    status = fields.String(
        required=True,
        metadata={
            "description": "for an account: only `active` is valid; for a key: ended or changed"
        },
    )
    at = Timestamp(required=True)

    @post_dump
    def drop_empty_account_id(self, data: dict[str, object], **_: object) -> dict[str, object]:
        return {name: value for name, value in data.items() if value or name != "account_id"}


class RevocationsSchema(StrictSchema):
    """A page of revocations, oldest first."""

    items = fields.List(fields.Nested(RevocationSchema), required=True)
    next = fields.String(
        required=True,
        metadata={"description": "the value of `since` for the next request; always present"},
    )
    more = fields.Boolean(
        required=True, metadata={"description": "whether the next page is available at once"}
    )
    global_epoch = fields.Integer(
        required=True, metadata={"description": "increases when a signing key is revoked"}
    )


DUMP = RevocationsSchema().dump


@blp.route("/revocations", methods=["GET"])
@reading
@require(scoped(READ_REVOCATIONS))
@blp.query(RevocationsQuerySchema)
@blp.response(200, RevocationsSchema)
def get_revocations(work: UnitOfWork, _principal: Principal, query: Body) -> Response:
    """List revocations since a cursor, at most 1000. Poll once a second."""
    return build_cacheable_response(
        dump_json(DUMP(list_revocations(work, **query))), max_age=MAX_AGE_SECONDS, public=False
    )
