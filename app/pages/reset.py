"""The page behind the mailed link to choose another password. Opening it changes nothing; only the form acts."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.errors import InvalidInput
from app.pages.render import asking_again, page, shown
from app.passwords.reset import account_of_link, reset
from app.unit_of_work import UnitOfWork
from app.web.limits import limited
from app.web.source import current_source
from app.web.work import reading, writing

blp = Blueprint("reset", __name__)


@reading
def form(work: UnitOfWork, token: str, problem: InvalidInput | None = None) -> Response:
    """A form that asks for a password twice."""
    username = account_of_link(work, token=token)
    status = problem.status if problem else 200
    return page("reset", status=status, username=username, least=work.settings.password_min_length, problem=problem)


@blp.route("/reset/<token>", methods=["GET"])
@shown
def get_reset(token: str) -> Response:
    """Ask for a password."""
    return form(token)


@blp.route("/reset/<token>", methods=["POST"])
@shown
@asking_again(form)
@writing
@limited("confirm")
def post_reset(work: UnitOfWork, token: str) -> Response:
    """Set the password."""
    new, again = request.form.get("password", ""), request.form.get("again", "")
    reset(work, current_source(), token=token, new_password=new, verify_password=again)
    return page("password_set")
