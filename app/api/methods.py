"""Login methods and password rules, for login pages."""

from __future__ import annotations

from marshmallow import fields

from app.authentication.passwords.normalize import MAX_LENGTH
from app.unit_of_work import UnitOfWork
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema
from app.web.unit_of_work import reading

blp = Blueprint(
    "methods", __name__, url_prefix="/v1", description="Login methods and password rules."
)


class MethodSchema(StrictSchema):
    """A login method."""

    id = fields.String(required=True)
    type = fields.String(required=True, metadata={"enum": ["password", "device_code"]})
    name = fields.String(required=True)
    login_url = fields.String(
        required=True,
        metadata={
            "description": "URL to post the password to; for `device_code`, "
            "the page where users enter the code"
        },
    )


class PoliciesSchema(StrictSchema):
    """Rules that a form should show."""

    registration = fields.String(required=True, metadata={"enum": ["open", "invite", "closed"]})
    password_min_length = fields.Integer(required=True)
    password_max_length = fields.Integer(required=True)


class MethodsSchema(StrictSchema):
    """Login methods and rules."""

    items = fields.List(fields.Nested(MethodSchema), required=True)
    policies = fields.Nested(PoliciesSchema, required=True)


@blp.route("/methods", methods=["GET"])
@reading
@blp.response(200, MethodsSchema)
def get_methods(work: UnitOfWork) -> dict[str, object]:
    """List the login methods and password rules."""
    settings = work.settings
    password = {
        "id": "password",
        "type": "password",
        "name": "Password",
        "login_url": f"{settings.public_url}/v1/login",
    }
    device = {
        "id": "device",
        "type": "device_code",
        "name": "Another device",
        "login_url": f"{settings.public_url}/login/activate",
    }
    policies = {
        "registration": settings.registration,
        "password_min_length": settings.password_min_length,
        "password_max_length": MAX_LENGTH,
    }
    return {"items": [password, device], "policies": policies}
