"""Signing in and out on our own pages, and typing the password once more."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.authentication.errors import WrongPassword
from app.errors import Problem
from app.pages.render import protect_page, redirect_to, redisplay_form, render_page
from app.passwords.reset import reset_password
from app.principal import Principal
from app.sessions.elevate import elevate
from app.sessions.errors import InvalidCredentials, PasswordChangeRequired
from app.sessions.log_in import log_in
from app.sessions.revoke import log_out
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import require
from app.web.auth.page_session import (
    PAGE_SESSION_LIFETIME,
    clear_page_cookie,
    find_page_principal,
    replace_page_session,
    require_page_principal,
    restrict_to_own_pages,
    set_page_cookie,
)
from app.web.client_info import get_client_info
from app.web.rate_limit import rate_limit
from app.web.unit_of_work import reading, writing

blp = Blueprint("login_page", __name__, url_prefix="/login")


def get_next_page() -> str:
    """Where to go on to once that is done."""
    return restrict_to_own_pages(request.values.get("next", ""))


def show_login_form(problem: Problem | None = None) -> Response:
    """A form that asks for name and password."""
    status = problem.status if problem else 200
    return render_page(
        "login",
        status=status,
        next=get_next_page(),
        username=request.form.get("username", ""),
        problem=problem,
    )


@reading
@require(require_page_principal)
def show_reauthentication_form(
    _work: UnitOfWork, principal: Principal, problem: Problem | None = None
) -> Response:
    """A form that asks for the password alone."""
    return render_page(
        "again",
        status=problem.status if problem else 200,
        next=get_next_page(),
        username=principal.username,
        problem=problem,
    )


@reading
def show_new_password_form(work: UnitOfWork, problem: Problem) -> Response:
    """A form that asks for another password twice. What lets it be set is in the form, never in an address."""
    token = (
        problem.members["reset_token"]
        if isinstance(problem, PasswordChangeRequired)
        else request.form.get("reset_token", "")
    )
    status = 200 if isinstance(problem, PasswordChangeRequired) else problem.status
    name = request.form.get("username", "")
    least = work.settings.password_min_length
    return render_page(
        "new_password",
        status=status,
        next=get_next_page(),
        username=name,
        token=token,
        least=least,
        problem=problem,
    )


@blp.route("", methods=["GET"])
@protect_page
@reading
def get_login(work: UnitOfWork) -> Response:
    """Ask for name and password; whoever is signed in goes on."""
    return redirect_to(get_next_page()) if find_page_principal(work) else show_login_form()


@blp.route("", methods=["POST"])
@protect_page
@redisplay_form(show_new_password_form, PasswordChangeRequired)
@redisplay_form(show_login_form, InvalidCredentials)
@writing
@rate_limit("login")
def post_login(work: UnitOfWork) -> Response:
    """Sign in, for twelve hours at most."""
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
@protect_page
@redisplay_form(show_new_password_form)
@writing
@rate_limit("confirm")
def post_new_password(work: UnitOfWork) -> Response:
    """Set the password that has to be another one. It signs nobody in."""
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
    """Ask for the password once more."""
    return show_reauthentication_form()


@blp.route("/again", methods=["POST"])
@protect_page
@redisplay_form(show_new_password_form, PasswordChangeRequired)
@redisplay_form(show_reauthentication_form, WrongPassword)
@writing
@require(require_page_principal)
def post_again(work: UnitOfWork, principal: Principal) -> Response:
    """The password was typed just now. Another cookie takes the place of the one there was."""
    elevate(work, principal, get_client_info(), password=request.form.get("password", ""))
    return set_page_cookie(work, redirect_to(get_next_page()), session_id=principal.session_id)


@blp.route("/out", methods=["POST"])
@protect_page
@writing
@require(require_page_principal)
def post_out(work: UnitOfWork, principal: Principal) -> Response:
    """End this session."""
    log_out(work, principal, get_client_info())
    return clear_page_cookie(work, render_page("signed_out"))
