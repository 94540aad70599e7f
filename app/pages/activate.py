"""Letting another device in: the code that it shows is typed here, then its request is looked at and decided.

A link can fill the code in and no more. Looking changes nothing: only forms act (RFC 8628 section 5.4).
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.device_login.claim import claim_device_login
from app.device_login.decide import approve_device_login, deny_device_login, report_device_login
from app.device_login.errors import DeviceLoginClosed, UnknownUserCode
from app.device_login.show import get_device_login
from app.errors import NotFound, Problem
from app.pages.render import protect_page, redirect_to, redisplay_form, render_page
from app.principal import Principal
from app.sessions.recent_authentication import has_recent_authentication
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import require
from app.web.auth.page_session import (
    build_request_page_url,
    format_user_code,
    get_current_page,
    require_page_principal,
    require_recent_page_principal,
)
from app.web.client_info import get_client_info
from app.web.unit_of_work import reading, writing

blp = Blueprint("activate_page", __name__, url_prefix="/login")


@reading
@require(require_page_principal)
def show_code_form(
    _work: UnitOfWork, principal: Principal, user_code: str = "", problem: Problem | None = None
) -> Response:
    """A form that asks for the code."""
    code = request.form.get("user_code", "") if problem else format_user_code(user_code)
    status = problem.status if problem else 200
    return render_page(
        "activate",
        status=status,
        username=principal.username,
        code=code,
        by_link=bool(user_code),
        problem=problem,
    )


@reading
@require(require_page_principal)
def show_request(
    work: UnitOfWork, principal: Principal, login_session_id: str, problem: Problem | None = None
) -> Response:
    """Who asks, from where and for what, and the three answers; or what became of it."""
    asked = get_device_login(work, principal, device_login_id=login_session_id)
    if (
        asked.account_id != principal.account_id
    ):  # an administrator may read it elsewhere, and can decide nothing
        raise NotFound
    return render_page(
        "request",
        status=problem.status if problem else 200,
        username=principal.username,
        asked=asked,
        code="" if problem else format_user_code(request.values.get("user_code", "")),
        fresh=has_recent_authentication(principal, work.now),
        here=get_current_page(),
        problem=problem,
    )


@blp.route("/activate", methods=["GET"])
@protect_page
def get_activate() -> Response:
    """Ask for the code."""
    return show_code_form()


@blp.route("/activate/<user_code>", methods=["GET"])
@protect_page
def get_activate_with_code(user_code: str) -> Response:
    """The same, filled in. Nothing is looked up."""
    return show_code_form(user_code)


@blp.route("/activate", methods=["POST"])
@protect_page
@redisplay_form(show_code_form, UnknownUserCode)
@writing
@require(require_page_principal)
def post_activate(work: UnitOfWork, principal: Principal) -> Response:
    """Claim the request with that code, and look at it."""
    typed = request.form.get("user_code", "")
    asked = claim_device_login(work, principal, get_client_info(), user_code=typed)
    return redirect_to(build_request_page_url(f"/login/requests/{asked.id}", typed))


@blp.route("/requests/<login_session_id>", methods=["GET"])
@protect_page
def get_request(login_session_id: str) -> Response:
    """Show it."""
    return show_request(login_session_id)


@blp.route("/requests/<login_session_id>/approve", methods=["POST"])
@protect_page
@redisplay_form(show_request, UnknownUserCode, DeviceLoginClosed)
@writing
@require(require_recent_page_principal)
def post_approve(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Let the other device in."""
    code = request.form.get("user_code", "")
    approve_device_login(
        work, principal, get_client_info(), device_login_id=login_session_id, user_code=code
    )
    return redirect_to(f"/login/requests/{login_session_id}")


@blp.route("/requests/<login_session_id>/deny", methods=["POST"])
@protect_page
@redisplay_form(show_request, DeviceLoginClosed)
@writing
@require(require_page_principal)
def post_deny(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Refuse."""
    deny_device_login(work, principal, get_client_info(), device_login_id=login_session_id)
    return redirect_to(f"/login/requests/{login_session_id}")


@blp.route("/requests/<login_session_id>/suspicious", methods=["POST"])
@protect_page
@redisplay_form(show_request, DeviceLoginClosed)
@writing
@require(require_page_principal)
def post_suspicious(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Refuse what one did not ask for oneself."""
    report_device_login(work, principal, get_client_info(), device_login_id=login_session_id)
    return redirect_to(f"/login/requests/{login_session_id}")
