"""Trusted devices of the current user."""

from __future__ import annotations

from marshmallow import fields

from app.authentication.trusted_devices.manage import (
    TrustedDeviceView,
    forget_trusted_device,
    list_trusted_devices,
)
from app.errors import NotFound
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import require, session
from app.web.client_info import get_client_info
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "devices",
    __name__,
    url_prefix="/v1/devices",
    description="Trusted devices of the current user.",
)


class DeviceSchema(StrictSchema):
    """A trusted device, on which failed attempts by others cause no delay."""

    id = fields.String(required=True)
    name = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True)
    address = fields.String(
        required=True, metadata={"description": "IP address when it was remembered"}
    )
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(required=True)
    expires_at = Timestamp(required=True)


class DevicesSchema(StrictSchema):
    """Trusted devices, the most recently used first; at most twenty."""

    items = fields.List(fields.Nested(DeviceSchema), required=True)
    next = fields.String(required=True, allow_none=True)


@blp.route("", methods=["GET"])
@reading
@require(session)
@blp.response(200, DevicesSchema)
def get_devices(
    work: UnitOfWork, principal: Principal
) -> dict[str, list[TrustedDeviceView] | None]:
    """List your trusted devices."""
    return {"items": list_trusted_devices(work, principal), "next": None}


@blp.route("/<device_id>", methods=["DELETE"])
@writing
@require(session)
@document_problems(NotFound)
@blp.response(204)
def delete_device(work: UnitOfWork, principal: Principal, device_id: str) -> None:
    """Forget a trusted device."""
    forget_trusted_device(work, principal, get_client_info(), device_id=device_id)
