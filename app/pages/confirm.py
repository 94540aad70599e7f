"""The page that confirms an email address and creates the account.

Opening the link changes nothing, because mail scanners open links too; only the form does.
"""

from __future__ import annotations

from flask import Response, request

from app.errors import InvalidInput
from app.pages.render import redisplay_form, render_page, show_problems
from app.registration.confirm import confirm_by_link, get_username_for_confirmation
from app.unit_of_work import UnitOfWork
from app.web.client_info import get_client_info
from app.web.rate_limit import rate_limit
from app.web.routes import PageBlueprint, hashes_password
from app.web.unit_of_work import reading, writing

blp = PageBlueprint("confirm", __name__)


@reading
def show_form(work: UnitOfWork, token: str, problem: InvalidInput | None = None) -> Response:
    """Show the form that asks for a password."""
    username = get_username_for_confirmation(work, token=token)
    return render_page(
        "confirm", username=username, min_length=work.settings.password_min_length, problem=problem
    )


@blp.route("/confirm/<token>", methods=["GET"])
@show_problems
def get_confirm(token: str) -> Response:
    """Ask for a password."""
    return show_form(token)


@blp.route("/confirm/<token>", methods=["POST"])
@hashes_password
@show_problems
@redisplay_form(show_form)
@writing
@rate_limit("confirm")
def post_confirm(work: UnitOfWork, token: str) -> Response:
    """Create the account."""
    account = confirm_by_link(
        work, get_client_info(), token=token, password=request.form.get("password", "")
    )
    return render_page("confirmed", username=account.username)
