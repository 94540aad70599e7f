"""Letting another device in: the code that it shows is typed here, then its request is looked at and decided.

A link can fill the code in and no more. Looking changes nothing: only forms act (RFC 8628 section 5.4).
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.device_login.claim import claim
from app.device_login.decide import approve, deny, suspect
from app.device_login.errors import LoginSessionOver, UnknownUserCode
from app.device_login.show import get_login_session
from app.errors import NotFound, Problem
from app.pages.render import asking_again, for_person, go, page
from app.principal import Principal
from app.sessions.fresh import is_fresh
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import require
from app.web.auth.page_session import fresh_person, person, request_page, shown_code, this_page
from app.web.client_info import get_client_info
from app.web.unit_of_work import reading, writing

blp = Blueprint("activate_page", __name__, url_prefix="/login")


@reading
@require(person)
def code_form(
    _work: UnitOfWork, principal: Principal, user_code: str = "", problem: Problem | None = None
) -> Response:
    """A form that asks for the code."""
    code = request.form.get("user_code", "") if problem else shown_code(user_code)
    status = problem.status if problem else 200
    return page(
        "activate",
        status=status,
        username=principal.username,
        code=code,
        by_link=bool(user_code),
        problem=problem,
    )


@reading
@require(person)
def request_form(
    work: UnitOfWork, principal: Principal, login_session_id: str, problem: Problem | None = None
) -> Response:
    """Who asks, from where and for what, and the three answers; or what became of it."""
    asked = get_login_session(work, principal, login_session_id=login_session_id)
    if (
        asked.account_id != principal.account_id
    ):  # an administrator may read it elsewhere, and can decide nothing
        raise NotFound
    return page(
        "request",
        status=problem.status if problem else 200,
        username=principal.username,
        asked=asked,
        code="" if problem else shown_code(request.values.get("user_code", "")),
        fresh=is_fresh(principal, work.now),
        here=this_page(),
        problem=problem,
    )


@blp.route("/activate", methods=["GET"])
@for_person
def get_activate() -> Response:
    """Ask for the code."""
    return code_form()


@blp.route("/activate/<user_code>", methods=["GET"])
@for_person
def get_activate_with_code(user_code: str) -> Response:
    """The same, filled in. Nothing is looked up."""
    return code_form(user_code)


@blp.route("/activate", methods=["POST"])
@for_person
@asking_again(code_form, UnknownUserCode)
@writing
@require(person)
def post_activate(work: UnitOfWork, principal: Principal) -> Response:
    """Claim the request with that code, and look at it."""
    typed = request.form.get("user_code", "")
    asked = claim(work, principal, get_client_info(), user_code=typed)
    return go(request_page(f"/login/requests/{asked.id}", typed))


@blp.route("/requests/<login_session_id>", methods=["GET"])
@for_person
def get_request(login_session_id: str) -> Response:
    """Show it."""
    return request_form(login_session_id)


@blp.route("/requests/<login_session_id>/approve", methods=["POST"])
@for_person
@asking_again(request_form, UnknownUserCode, LoginSessionOver)
@writing
@require(fresh_person)
def post_approve(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Let the other device in."""
    code = request.form.get("user_code", "")
    approve(work, principal, get_client_info(), login_session_id=login_session_id, user_code=code)
    return go(f"/login/requests/{login_session_id}")


@blp.route("/requests/<login_session_id>/deny", methods=["POST"])
@for_person
@asking_again(request_form, LoginSessionOver)
@writing
@require(person)
def post_deny(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Refuse."""
    deny(work, principal, get_client_info(), login_session_id=login_session_id)
    return go(f"/login/requests/{login_session_id}")


@blp.route("/requests/<login_session_id>/suspicious", methods=["POST"])
@for_person
@asking_again(request_form, LoginSessionOver)
@writing
@require(person)
def post_suspicious(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Refuse what one did not ask for oneself."""
    suspect(work, principal, get_client_info(), login_session_id=login_session_id)
    return go(f"/login/requests/{login_session_id}")
