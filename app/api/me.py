"""Endpoints for the caller's own account and session, and for the principal of a credential."""

from __future__ import annotations

from flask import Response
from marshmallow import ValidationError, fields, validates

from app.accounts.change_profile import change_profile
from app.accounts.profile_rules import (
    MAX_METADATA_BYTES,
    InvalidProfileValue,
    parse_metadata,
    parse_timezone,
)
from app.accounts.summary import Profile
from app.api.registration import LOCALE
from app.api.schemas import ProfileSchema, SessionSchema, build_name_field
from app.principal import Principal
from app.sessions.show import CurrentAccount, get_current_account
from app.unit_of_work import UnitOfWork
from app.web.answers import build_whoami_answer
from app.web.auth.requirements import credential, require, session
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.blueprint import Blueprint
from app.web.problems import to_response
from app.web.schemas import StrictSchema, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "me",
    __name__,
    url_prefix="/v1",
    description="The caller's own account, session and credential.",
)


class MeSchema(StrictSchema):
    """The account and session of the caller, with their roles and scopes."""

    account = fields.Nested(ProfileSchema, required=True)
    session = fields.Nested(SessionSchema, required=True)
    roles = fields.List(fields.String(), required=True)
    scopes = fields.List(fields.String(), required=True)
    resources = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class ChangeMeSchema(StrictSchema):
    """The fields to change."""

    name = build_name_field()
    locale = fields.String(validate=LOCALE)
    timezone = fields.String(
        metadata={"description": "name from the IANA time zone database, such as Europe/Vienna"}
    )
    metadata = fields.Dict(
        keys=fields.String(),
        metadata={
            "description": f"JSON object of at most {MAX_METADATA_BYTES} bytes; replaced as a whole"
        },
    )

    @validates("timezone")
    def validate_timezone(self, value: str, **_: object) -> None:
        try:
            parse_timezone(value)
        except InvalidProfileValue as error:
            raise ValidationError(str(error)) from None

    @validates("metadata")
    def validate_metadata(self, value: dict[str, object], **_: object) -> None:
        try:
            parse_metadata(value)
        except InvalidProfileValue as error:
            raise ValidationError(str(error)) from None


class PrincipalSchema(StrictSchema):
    """The principal of a credential."""

    account_id = fields.String(required=True)
    username = fields.String(required=True)
    kind = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    roles = fields.List(fields.String(), required=True)
    session_id = fields.String(metadata={"description": "only for sessions"})
    key_id = fields.String(
        metadata={"description": "only for API keys and access tokens issued to them"}
    )
    expires_at = Timestamp(
        required=True, allow_none=True, metadata={"description": "when the credential expires"}
    )


@blp.route("/me", methods=["GET"])
@reading
@require(session)
@blp.response(200, MeSchema)
def get_my_account(work: UnitOfWork, principal: Principal) -> CurrentAccount:
    """Get your account, session, roles, scopes and resources."""
    return get_current_account(work, principal)


@blp.route("/me", methods=["PATCH"])
@writing
@require(session)
@blp.arguments(ChangeMeSchema)
@blp.response(200, ProfileSchema)
def patch_my_account(work: UnitOfWork, principal: Principal, body: Body) -> Profile:
    """Change your profile."""
    return change_profile(work, principal, get_client_info(), changes=body)


@blp.route("/whoami", methods=["GET"])
@reading
@require(credential)
@blp.response(200, PrincipalSchema)
def get_whoami(_work: UnitOfWork, principal: Principal) -> Response:
    """Get the principal of the credential that you send."""
    return to_response(build_whoami_answer(principal))
