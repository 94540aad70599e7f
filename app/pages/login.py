"""Pages to sign in, sign out and confirm the password."""

from __future__ import annotations

from flask import Response, request

from app.authentication.errors import InvalidCredentials, WrongPassword
from app.errors import Problem
from app.pages.render import protect_page, redirect_to, redisplay_form, render_page
from app.passwords.reset import reset_password
from app.principal import Principal
from app.sessions.elevate import elevate
from app.sessions.errors import PasswordChangeRequired
from app.sessions.log_in import log_in
from app.sessions.revoke import log_out
from app.unit_of_work import UnitOfWork
from app.web.auth.page_session import (
    PAGE_SESSION_LIFETIME,
    clear_page_cookie,
    find_page_principal,
    page_session,
    replace_page_session,
    restrict_to_own_pages,
    set_page_cookie,
)
from app.web.auth.requirements import require
from app.web.client_info import get_client_info
from app.web.rate_limit import rate_limit
from app.web.routes import PageBlueprint, hashes_password
from app.web.unit_of_work import reading, writing

blp = PageBlueprint("login_page", __name__, url_prefix="/login")


def get_next_page() -> str:
    """Return the page to continue to afterwards."""
    return restrict_to_own_pages(request.values.get("next", ""))


def show_login_form(problem: Problem | None = None) -> Response:
    """Show the sign-in form."""
    return render_page(
        "login", next=get_next_page(), username=request.form.get("username", ""), problem=problem
    )


@reading
@require(page_session)
def show_reauthentication_form(
    _work: UnitOfWork, principal: Principal, problem: Problem | None = None
) -> Response:
    """Show the form that asks for the password again."""
    return render_page(
        "reauthenticate", next=get_next_page(), username=principal.username, problem=problem
    )


@reading
def show_new_password_form(work: UnitOfWork, problem: Problem) -> Response:
    """Show the form of a user whose password has to be changed before signing in.

    The reset token is in the form and never in a URL.
    """
    form = request.form
    is_first = isinstance(problem, PasswordChangeRequired)
    return render_page(
        "must_change_password",
        problem=None if is_first else problem,
        next=get_next_page(),
        username=form.get("username", ""),
        token=problem.members["reset_token"] if is_first else form.get("reset_token", ""),
        min_length=work.settings.password_min_length,
    )


@blp.route("", methods=["GET"])
@protect_page
@reading
def get_login(work: UnitOfWork) -> Response:
    """Ask for username and password. Users who are signed in continue."""
    return redirect_to(get_next_page()) if find_page_principal(work) else show_login_form()


@blp.route("", methods=["POST"])
@hashes_password
@protect_page
@redisplay_form(show_new_password_form, PasswordChangeRequired)
@redisplay_form(show_login_form, InvalidCredentials)
@writing
@rate_limit("login")
def post_login(work: UnitOfWork) -> Response:
    """Sign in for at most 12 hours."""
    name, password = request.form.get("username", ""), request.form.get("password", "")
    tokens = log_in(
        work,
        get_client_info(),
        username=name,
        password=password,
        expires_in=int(PAGE_SESSION_LIFETIME.total_seconds()),
    )
    return replace_page_session(work, redirect_to(get_next_page()), session_id=tokens.session_id)


@blp.route("/new-password", methods=["POST"])
@hashes_password
@protect_page
@redisplay_form(show_new_password_form)
@writing
@rate_limit("confirm")
def post_new_password(work: UnitOfWork) -> Response:
    """Set the new password. The user then signs in with it."""
    new, again = request.form.get("password", ""), request.form.get("again", "")
    reset_password(
        work,
        get_client_info(),
        token=request.form.get("reset_token", ""),
        new_password=new,
        verify_password=again,
    )
    return render_page("password_set", next=get_next_page())


@blp.route("/again", methods=["GET"])
@protect_page
def get_again() -> Response:
    """Ask for the password again."""
    return show_reauthentication_form()


@blp.route("/again", methods=["POST"])
@hashes_password
@protect_page
@redisplay_form(show_new_password_form, PasswordChangeRequired)
@redisplay_form(show_reauthentication_form, WrongPassword)
@writing
@require(page_session)
def post_again(work: UnitOfWork, principal: Principal) -> Response:
    """Verify the password and replace the cookie."""
    elevate(work, principal, get_client_info(), password=request.form.get("password", ""))
    return set_page_cookie(work, redirect_to(get_next_page()), session_id=principal.session_id)


@blp.route("/out", methods=["POST"])
@protect_page
@writing
@require(page_session)
def post_out(work: UnitOfWork, principal: Principal) -> Response:
    """Log out."""
    log_out(work, principal, get_client_info())
    return clear_page_cookie(work, render_page("signed_out"))
