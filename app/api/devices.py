"""One's own remembered devices."""

from __future__ import annotations

from marshmallow import fields

from app.authentication.trusted_devices.manage import DeviceView, forget_device, list_devices
from app.errors import NotFound
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import require, session
from app.web.client_info import get_client_info
from app.web.openapi.blueprint import Blueprint
from app.web.openapi.notes import answers
from app.web.schemas import Moment, Strict
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "devices", __name__, url_prefix="/v1/devices", description="One's own remembered devices."
)


class DeviceSchema(Strict):
    """A device from where its owner never has to wait because strangers guess."""

    id = fields.String(required=True)
    name = fields.String(required=True, allow_none=True)
    user_agent = fields.String(required=True)
    address = fields.String(required=True, metadata={"description": "where it was remembered"})
    created_at = Moment(required=True)
    last_used_at = Moment(required=True)
    expires_at = Moment(required=True)


class DevicesSchema(Strict):
    """Devices, the latest used first; there are at most twenty."""

    items = fields.List(fields.Nested(DeviceSchema), required=True)
    next = fields.String(required=True, allow_none=True)


@blp.route("", methods=["GET"])
@reading
@require(session)
@blp.response(200, DevicesSchema)
def get_devices(work: UnitOfWork, principal: Principal) -> dict[str, list[DeviceView] | None]:
    """The remembered devices of the account."""
    return {"items": list_devices(work, principal), "next": None}


@blp.route("/<device_id>", methods=["DELETE"])
@writing
@require(session)
@answers(NotFound)
@blp.response(204)
def delete_device(work: UnitOfWork, principal: Principal, device_id: str) -> None:
    """Forget a device: its token counts for nothing from now on."""
    forget_device(work, principal, get_client_info(), device_id=device_id)
