"""API keys: create, change, rotate and delete the keys of your account."""

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
    description="Long-lived credentials for programs. An API key cannot manage API keys.",
)

DEFAULT_LIFETIME_SECONDS = int(timedelta(days=90).total_seconds())
MAX_LIFETIME_SECONDS = int(timedelta(days=365).total_seconds())
DEFAULT_OVERLAP_SECONDS = int(timedelta(days=1).total_seconds())
MAX_OVERLAP_SECONDS = int(timedelta(days=7).total_seconds())
MAX_KEY_LENGTH = 4096  # longer than any key: other text is accepted and ignored
MAX_SCOPES = 50


def validate_scope(value: str) -> None:
    """Raise ValidationError unless the value is a scope."""
    if not is_scope(value):
        raise ValidationError("must be a scope like orders:read")


class ScopesField(fields.List[str]):
    """A list of scopes."""

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
    """A request for a new API key."""

    name = Label(
        max_length=64,
        required=True,
        metadata={"description": "name for your own reference; unique among your live keys"},
    )
    scopes = ScopesField(
        required=True,
        description="granted scopes; each must be a scope of your session; may be empty",
    )
    expires_in = StrictInteger(
        minimum=60,
        maximum=MAX_LIFETIME_SECONDS,
        load_default=DEFAULT_LIFETIME_SECONDS,
        allow_none=True,
        metadata={
            "description": "seconds; default: 90 days; null for no expiry (administrators only)"
        },
    )


class ChangeApiKeySchema(StrictSchema):
    """The fields to change. Omitted fields stay."""

    name = Label(max_length=64)
    scopes = ScopesField(description="remaining scopes; scopes can only be removed")


class RotateApiKeySchema(StrictSchema):
    """The overlap of a rotation."""

    overlap_seconds = StrictInteger(
        minimum=0,
        maximum=MAX_OVERLAP_SECONDS,
        load_default=DEFAULT_OVERLAP_SECONDS,
        metadata={
            "description": "seconds for which the current secret stays valid; 0 after a leak"
        },
    )


class ReportLeakSchema(StrictSchema):
    """A leaked API key."""

    key = SecretText(max_length=MAX_KEY_LENGTH, required=True)


class ApiKeySchema(StrictSchema):
    """An API key without its secret."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    prefix = fields.String(
        required=True, metadata={"description": "beginning of the key, for recognition"}
    )
    scopes = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "granted scopes; at each use limited to those that the account has"
        },
    )
    status = fields.String(
        required=True,
        metadata={"enum": ["live", "expired", "deleted", "leaked", "account_deleted"]},
    )
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(
        required=True, allow_none=True, metadata={"description": "accurate to one minute"}
    )
    expires_at = Timestamp(required=True, allow_none=True)


class ApiKeysSchema(StrictSchema):
    """The live API keys, newest first."""

    items = fields.List(fields.Nested(ApiKeySchema), required=True)
    next = fields.String(required=True, allow_none=True)


class CreatedApiKeySchema(StrictSchema):
    """A new API key with its secret."""

    id = fields.String(required=True)
    key = fields.String(
        required=True,
        metadata={"description": "shown once; send it as X-API-Key or as Authorization: Bearer"},
    )
    name = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    created_at = Timestamp(required=True)
    expires_at = Timestamp(required=True, allow_none=True)


class RotatedApiKeySchema(CreatedApiKeySchema):
    """A rotated API key with its new secret."""

    old_until = Timestamp(
        required=True, metadata={"description": "when the previous secret expires"}
    )


@blp.route("", methods=["POST"])
@writing
@require(session & recent_authentication)
@document_problems(ApiKeyNameTaken, TooManyApiKeys)
@blp.arguments(CreateApiKeySchema)
@blp.response(201, CreatedApiKeySchema)
def post_api_key(work: UnitOfWork, principal: Principal, body: Body) -> CreatedApiKey:
    """Create an API key. The response contains the key, which is never shown again."""
    return create_api_key(work, principal, get_client_info(), **body)


@blp.route("", methods=["GET"])
@reading
@require(session)
@blp.response(200, ApiKeysSchema)
def get_api_keys(work: UnitOfWork, principal: Principal) -> dict[str, list[ApiKeyView] | None]:
    """List your live API keys, newest first."""
    return {"items": list_api_keys(work, principal), "next": None}


@blp.route("/<key_id>", methods=["GET"])
@reading
@require(session)
@document_problems(NotFound)
@blp.response(200, ApiKeySchema)
def get_api_key(work: UnitOfWork, principal: Principal, key_id: str) -> ApiKeyView:
    """Get one of your API keys. Revoked and expired keys stay available for 30 days."""
    return show_api_key(work, principal, key_id=key_id)


@blp.route("/<key_id>", methods=["PATCH"])
@writing
@require(session)
@document_problems(NotFound, ApiKeyNameTaken)
@blp.arguments(ChangeApiKeySchema)
@blp.response(200, ApiKeySchema)
def patch_api_key(work: UnitOfWork, principal: Principal, body: Body, key_id: str) -> ApiKeyView:
    """Rename an API key, or remove scopes from it. Takes effect at the next use."""
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
    """Rotate an API key. The current secret stays valid for the overlap."""
    return rotate_api_key(work, principal, get_client_info(), key_id=key_id, **body)


@blp.route("/<key_id>", methods=["DELETE"])
@writing
@require(session)
@document_problems(NotFound)
@blp.response(204)
def delete_api_key(work: UnitOfWork, principal: Principal, key_id: str) -> None:
    """Delete an API key. It is rejected from the next use on."""
    delete_owned_api_key(work, principal, get_client_info(), key_id=key_id)


@blp.route("/report-leak", methods=["POST"])
@writing
@rate_limit("confirm")
@blp.arguments(ReportLeakSchema)
@blp.response(204)
def post_report_leak(work: UnitOfWork, body: Body) -> None:
    """Report a leaked API key. The key is revoked and its owner notified.

    Needs no authentication. The response is the same whether or not the key exists.
    """
    report_leak(work, get_client_info(), **body)
