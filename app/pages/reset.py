"""Pages to reset a forgotten password: request a link by email, and set a password with it.

Opening a link changes nothing; only the form does.
"""

from __future__ import annotations

from flask import Response, request

from app.errors import InvalidInput
from app.pages.render import protect_page, redisplay_form, render_page, show_problems
from app.passwords.forgot import request_password_reset
from app.passwords.reset import get_username_for_reset, reset_password
from app.unit_of_work import UnitOfWork
from app.web.client_info import get_client_info
from app.web.rate_limit import rate_limit
from app.web.routes import PageBlueprint, hashes_password
from app.web.unit_of_work import reading, writing

blp = PageBlueprint("reset", __name__)


@reading
def show_form(work: UnitOfWork, token: str, problem: InvalidInput | None = None) -> Response:
    """Show the form that asks for a new password."""
    username = get_username_for_reset(work, token=token)
    return render_page(
        "reset", username=username, min_length=work.settings.password_min_length, problem=problem
    )


@blp.route("/login/forgot", methods=["GET"])
@protect_page
def get_forgot() -> Response:
    """Ask for the username or email address."""
    return render_page("forgot")


@blp.route("/login/forgot", methods=["POST"])
@protect_page
@writing
@rate_limit("forgot")
def post_forgot(work: UnitOfWork) -> Response:
    """Email a link if an account matches. The response is the same in either case."""
    request_password_reset(work, get_client_info(), username=request.form.get("username", ""))
    return render_page("forgot_sent")


@blp.route("/reset/<token>", methods=["GET"])
@show_problems
def get_reset(token: str) -> Response:
    """Ask for a new password."""
    return show_form(token)


@blp.route("/reset/<token>", methods=["POST"])
@hashes_password
@show_problems
@redisplay_form(show_form)
@writing
@rate_limit("confirm")
def post_reset(work: UnitOfWork, token: str) -> Response:
    """Set the password."""
    new, again = request.form.get("password", ""), request.form.get("again", "")
    reset_password(work, get_client_info(), token=token, new_password=new, verify_password=again)
    return render_page("password_set")
