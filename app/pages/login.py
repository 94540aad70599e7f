"""Signing in and out on our own pages, and typing the password once more."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.authentication.errors import WrongPassword
from app.errors import Problem
from app.pages.render import asking_again, for_person, go, page
from app.passwords.reset import reset
from app.principal import Principal
from app.sessions.elevate import elevate
from app.sessions.end import log_out
from app.sessions.errors import InvalidCredentials, PasswordChangeRequired
from app.sessions.log_in import log_in
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import require
from app.web.auth.page_session import (
    LIFE,
    begin_anew,
    keep_signed_in,
    own_page,
    person,
    person_or_nobody,
    sign_out,
)
from app.web.client_info import get_client_info
from app.web.rate_limit import limited
from app.web.unit_of_work import reading, writing

blp = Blueprint("login_page", __name__, url_prefix="/login")


def next_page() -> str:
    """Where to go on to once that is done."""
    return own_page(request.values.get("next", ""))


def form(problem: Problem | None = None) -> Response:
    """A form that asks for name and password."""
    status = problem.status if problem else 200
    return page(
        "login",
        status=status,
        next=next_page(),
        username=request.form.get("username", ""),
        problem=problem,
    )


@reading
@require(person)
def form_again(_work: UnitOfWork, principal: Principal, problem: Problem | None = None) -> Response:
    """A form that asks for the password alone."""
    return page(
        "again",
        status=problem.status if problem else 200,
        next=next_page(),
        username=principal.username,
        problem=problem,
    )


@reading
def form_new_password(work: UnitOfWork, problem: Problem) -> Response:
    """A form that asks for another password twice. What lets it be set is in the form, never in an address."""
    token = (
        problem.members["reset_token"]
        if isinstance(problem, PasswordChangeRequired)
        else request.form.get("reset_token", "")
    )
    status = 200 if isinstance(problem, PasswordChangeRequired) else problem.status
    name = request.form.get("username", "")
    least = work.settings.password_min_length
    return page(
        "new_password",
        status=status,
        next=next_page(),
        username=name,
        token=token,
        least=least,
        problem=problem,
    )


@blp.route("", methods=["GET"])
@for_person
@reading
def get_login(work: UnitOfWork) -> Response:
    """Ask for name and password; whoever is signed in goes on."""
    return go(next_page()) if person_or_nobody(work) else form()


@blp.route("", methods=["POST"])
@for_person
@asking_again(form_new_password, PasswordChangeRequired)
@asking_again(form, InvalidCredentials)
@writing
@limited("login")
def post_login(work: UnitOfWork) -> Response:
    """Sign in, for twelve hours at most."""
    name, password = request.form.get("username", ""), request.form.get("password", "")
    tokens = log_in(
        work,
        get_client_info(),
        username=name,
        password=password,
        expires_in=int(LIFE.total_seconds()),
    )
    return begin_anew(work, go(next_page()), session_id=tokens.session_id)


@blp.route("/new-password", methods=["POST"])
@for_person
@asking_again(form_new_password)
@writing
@limited("confirm")
def post_new_password(work: UnitOfWork) -> Response:
    """Set the password that has to be another one. It signs nobody in."""
    new, again = request.form.get("password", ""), request.form.get("again", "")
    reset(
        work,
        get_client_info(),
        token=request.form.get("reset_token", ""),
        new_password=new,
        verify_password=again,
    )
    return page("password_set", next=next_page())


@blp.route("/again", methods=["GET"])
@for_person
def get_again() -> Response:
    """Ask for the password once more."""
    return form_again()


@blp.route("/again", methods=["POST"])
@for_person
@asking_again(form_new_password, PasswordChangeRequired)
@asking_again(form_again, WrongPassword)
@writing
@require(person)
def post_again(work: UnitOfWork, principal: Principal) -> Response:
    """The password was typed just now. Another cookie takes the place of the one there was."""
    elevate(work, principal, get_client_info(), password=request.form.get("password", ""))
    return keep_signed_in(work, go(next_page()), session_id=principal.session_id)


@blp.route("/out", methods=["POST"])
@for_person
@writing
@require(person)
def post_out(work: UnitOfWork, principal: Principal) -> Response:
    """End this session."""
    log_out(work, principal, get_client_info())
    return sign_out(work, page("signed_out"))
