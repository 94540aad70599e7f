"""What a login page needs to know before anyone has signed in."""

from __future__ import annotations

from marshmallow import fields

from app.authentication.passwords.normalize import MAX_LENGTH
from app.unit_of_work import UnitOfWork
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema
from app.web.unit_of_work import reading

blp = Blueprint("methods", __name__, url_prefix="/v1", description="How one can sign in here.")


class MethodSchema(StrictSchema):
    """One way of signing in."""

    id = fields.String(required=True)
    type = fields.String(required=True, metadata={"enum": ["password", "device_code"]})
    name = fields.String(required=True)
    login_url = fields.String(
        required=True,
        metadata={
            "description": "where the password is posted; of `device_code`, where a person types the code"
        },
    )


class PoliciesSchema(StrictSchema):
    """The rules a form should tell people."""

    registration = fields.String(required=True, metadata={"enum": ["open", "invite", "closed"]})
    password_min_length = fields.Integer(required=True)
    password_max_length = fields.Integer(required=True)


class MethodsSchema(StrictSchema):
    """Ways of signing in, and rules."""

    items = fields.List(fields.Nested(MethodSchema), required=True)
    policies = fields.Nested(PoliciesSchema, required=True)


@blp.route("/methods", methods=["GET"])
@reading
@blp.response(200, MethodsSchema)
def get_methods(work: UnitOfWork) -> dict[str, object]:
    """How one can sign in here, and which rules hold."""
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
