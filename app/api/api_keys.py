"""Credentials for programs: making, narrowing, rotating and ending one's own API keys."""

from __future__ import annotations

from datetime import timedelta

from marshmallow import ValidationError, fields, validate

from app.api_keys.change import change_api_key
from app.api_keys.create import CreatedApiKey, create_api_key
from app.api_keys.errors import ApiKeyNameTaken, TooManyApiKeys
from app.api_keys.revoke import delete_owned_api_key, report_leak
from app.api_keys.rotate import RotatedApiKey, rotate_api_key
from app.api_keys.show import ApiKeyView, list_api_keys, show_api_key
from app.errors import NotFound
from app.principal import Principal
from app.settings import is_scope
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import recent_authentication, require, session
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.rate_limit import rate_limit
from app.web.schemas import Label, SecretText, StrictInteger, StrictSchema, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "api-keys",
    __name__,
    url_prefix="/v1/api-keys",
    description="Credentials for programs. A key may not manage keys.",
)

DEFAULT_LIFETIME_SECONDS = int(timedelta(days=90).total_seconds())
MAX_LIFETIME_SECONDS = int(timedelta(days=365).total_seconds())
DEFAULT_OVERLAP_SECONDS = int(timedelta(days=1).total_seconds())
MAX_OVERLAP_SECONDS = int(timedelta(days=7).total_seconds())
MAX_KEY_LENGTH = 4096  # longer than ours are: a text that is no key is no fault of form
MAX_SCOPES = 50


def validate_scope(value: str) -> None:
    """Raises ValidationError."""
    if not is_scope(value):
        raise ValidationError("must be a scope like orders:read")


class ScopesField(fields.List[str]):
    """Some scopes, each once."""

    def __init__(self, *, description: str, required: bool = False) -> None:
        super().__init__(
            fields.String(validate=validate_scope),
            required=required,
            validate=validate.Length(
                max=MAX_SCOPES, error=f"must name at most {MAX_SCOPES} scopes"
            ),
            metadata={"description": description},
        )


class CreateApiKeySchema(StrictSchema):
    """A key to be made."""

    name = Label(
        max_length=64,
        required=True,
        metadata={
            "description": "for its owner to tell it from others; no two living keys share one"
        },
    )
    scopes = ScopesField(
        required=True,
        description="what it may do, all of it held by the session that asks; may be empty",
    )
    expires_in = StrictInteger(
        minimum=60,
        maximum=MAX_LIFETIME_SECONDS,
        load_default=DEFAULT_LIFETIME_SECONDS,
        allow_none=True,
        metadata={
            "description": "seconds, 90 days unless told otherwise; null, which is for administrators only: it does not expire"
        },
    )


class ChangeApiKeySchema(StrictSchema):
    """What to change; the rest stays."""

    name = Label(max_length=64)
    scopes = ScopesField(description="fewer than it has; what is taken away never comes back")


class RotateApiKeySchema(StrictSchema):
    """How long the present secret goes on."""

    overlap_seconds = StrictInteger(
        minimum=0,
        maximum=MAX_OVERLAP_SECONDS,
        load_default=DEFAULT_OVERLAP_SECONDS,
        metadata={
            "description": "how long the present secret counts beside the new one; 0: it ends at once, for one that has leaked"
        },
    )


class ReportLeakSchema(StrictSchema):
    """A key that was found where it should not be."""

    key = SecretText(max_length=MAX_KEY_LENGTH, required=True)


class ApiKeySchema(StrictSchema):
    """A key without its secret."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    prefix = fields.String(
        required=True, metadata={"description": "how it begins, to recognise it by"}
    )
    scopes = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "as given; at each use cut to what its owner may then"},
    )
    status = fields.String(
        required=True,
        metadata={"enum": ["live", "expired", "deleted", "leaked", "account_deleted"]},
    )
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(
        required=True, allow_none=True, metadata={"description": "to the minute"}
    )
    expires_at = Timestamp(required=True, allow_none=True)


class ApiKeysSchema(StrictSchema):
    """Living keys, newest first."""

    items = fields.List(fields.Nested(ApiKeySchema), required=True)
    next = fields.String(required=True, allow_none=True)


class CreatedApiKeySchema(StrictSchema):
    """A key with its secret."""

    id = fields.String(required=True)
    key = fields.String(
        required=True,
        metadata={
            "description": "shown only now; send it as X-API-Key, or as Authorization: Bearer"
        },
    )
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    created_at = Timestamp(required=True)
    expires_at = Timestamp(required=True, allow_none=True)


class RotatedApiKeySchema(CreatedApiKeySchema):
    """The same key with another secret."""

    old_until = Timestamp(
        required=True, metadata={"description": "until when the secret before this one counts"}
    )


@blp.route("", methods=["POST"])
@writing
@require(session & recent_authentication)
@document_problems(ApiKeyNameTaken, TooManyApiKeys)
@blp.arguments(CreateApiKeySchema)
@blp.response(201, CreatedApiKeySchema)
def post_api_key(work: UnitOfWork, principal: Principal, body: Body) -> CreatedApiKey:
    """Make a key. Its secret is in this answer and nowhere else."""
    return create_api_key(work, principal, get_client_info(), **body)


@blp.route("", methods=["GET"])
@reading
@require(session)
@blp.response(200, ApiKeysSchema)
def get_api_keys(work: UnitOfWork, principal: Principal) -> dict[str, list[ApiKeyView] | None]:
    """The living keys of the account, newest first."""
    return {"items": list_api_keys(work, principal), "next": None}


@blp.route("/<key_id>", methods=["GET"])
@reading
@require(session)
@document_problems(NotFound)
@blp.response(200, ApiKeySchema)
def get_api_key(work: UnitOfWork, principal: Principal, key_id: str) -> ApiKeyView:
    """One key of one's own, for 30 days also when it is over."""
    return show_api_key(work, principal, key_id=key_id)


@blp.route("/<key_id>", methods=["PATCH"])
@writing
@require(session)
@document_problems(NotFound, ApiKeyNameTaken)
@blp.arguments(ChangeApiKeySchema)
@blp.response(200, ApiKeySchema)
def patch_api_key(work: UnitOfWork, principal: Principal, body: Body, key_id: str) -> ApiKeyView:
    """Give a key another name, or fewer scopes; it has no more than those from the next use on."""
    return change_api_key(work, principal, get_client_info(), key_id=key_id, **body)


@blp.route("/<key_id>/rotate", methods=["POST"])
@writing
@require(session & recent_authentication)
@document_problems(NotFound)
@blp.arguments(RotateApiKeySchema, required=False)
@blp.response(200, RotatedApiKeySchema)
def post_rotate_api_key(
    work: UnitOfWork, principal: Principal, body: Body, key_id: str
) -> RotatedApiKey:
    """Another secret for the same key. The present one goes on for the overlap, so that programs can be told in peace."""
    return rotate_api_key(work, principal, get_client_info(), key_id=key_id, **body)


@blp.route("/<key_id>", methods=["DELETE"])
@writing
@require(session)
@document_problems(NotFound)
@blp.response(204)
def delete_api_key(work: UnitOfWork, principal: Principal, key_id: str) -> None:
    """End a key; it is refused from the next use on."""
    delete_owned_api_key(work, principal, get_client_info(), key_id=key_id)


@blp.route("/report-leak", methods=["POST"])
@writing
@rate_limit("confirm")
@blp.arguments(ReportLeakSchema)
@blp.response(204)
def post_report_leak(work: UnitOfWork, body: Body) -> None:
    """Whoever found a key may end it: it counts no more, and its owner is told. The answer is the same for any text."""
    report_leak(work, get_client_info(), **body)
