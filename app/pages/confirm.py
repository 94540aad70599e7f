"""The page behind the mailed link. Opening it changes nothing: mail scanners do that; only the form acts."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.pages.render import page, shown
from app.registration.confirm import confirm_by_link, pending_of_link
from app.unit_of_work import UnitOfWork
from app.web.limits import limited
from app.web.source import current_source
from app.web.work import reading, writing

blp = Blueprint("confirm", __name__)


@blp.route("/confirm/<token>", methods=["GET"])
@shown("confirm")
@reading
def get_confirm(work: UnitOfWork, token: str) -> Response:
    """A form that asks for a password."""
    return page("confirm", username=pending_of_link(work, token=token), problem=None)


@blp.route("/confirm/<token>", methods=["POST"])
@shown("confirm")
@writing
@limited("confirm")
def post_confirm(work: UnitOfWork, token: str) -> Response:
    """Open the account."""
    account = confirm_by_link(work, current_source(), token=token, password=request.form.get("password", ""))
    return page("confirmed", username=account.username)
