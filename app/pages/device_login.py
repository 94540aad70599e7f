"""Pages that connect another device: enter its code, review the request, decide.

A link can fill in the code and nothing else. Opening a page changes nothing; only forms do
(RFC 8628 section 5.4).
"""

from __future__ import annotations

from flask import Response, request

from app.device_login.claim import claim_device_login
from app.device_login.decide import approve_device_login, deny_device_login, report_device_login
from app.device_login.errors import DeviceLoginClosed, UnknownUserCode
from app.device_login.show import get_device_login
from app.errors import NotFound, Problem
from app.pages.render import protect_page, redirect_to, redisplay_form, render_page
from app.principal import Principal
from app.sessions.recent_authentication import has_recent_authentication
from app.unit_of_work import UnitOfWork
from app.web.auth.page_session import (
    build_request_page_url,
    format_user_code,
    get_current_page,
    page_session,
)
from app.web.auth.requirements import recent_authentication, require
from app.web.client_info import get_client_info
from app.web.routes import PageBlueprint
from app.web.unit_of_work import reading, writing

blp = PageBlueprint("activate_page", __name__, url_prefix="/login")


@reading
@require(page_session)
def show_code_form(
    _work: UnitOfWork, principal: Principal, user_code: str = "", problem: Problem | None = None
) -> Response:
    """Show the form that asks for the code."""
    code = request.form.get("user_code", "") if problem else format_user_code(user_code)
    return render_page(
        "activate", username=principal.username, code=code, by_link=bool(user_code), problem=problem
    )


@reading
@require(page_session)
def show_device_login(
    work: UnitOfWork, principal: Principal, login_session_id: str, problem: Problem | None = None
) -> Response:
    """Show the request and the possible decisions, or how it was decided."""
    found = get_device_login(work, principal, device_login_id=login_session_id)
    # Administrators may read the requests of others through the API, but cannot decide them.
    if found.account_id != principal.account_id:
        raise NotFound
    return render_page(
        "device_login",
        username=principal.username,
        device_login=found,
        code="" if problem else format_user_code(request.values.get("user_code", "")),
        is_recent=has_recent_authentication(principal, work.now),
        this_page=get_current_page(),
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
    """Ask for the code, filled in from the link. Nothing is looked up."""
    return show_code_form(user_code)


@blp.route("/activate", methods=["POST"])
@protect_page
@redisplay_form(show_code_form, UnknownUserCode)
@writing
@require(page_session)
def post_activate(work: UnitOfWork, principal: Principal) -> Response:
    """Claim the request with this code and show it."""
    typed = request.form.get("user_code", "")
    claimed = claim_device_login(work, principal, get_client_info(), user_code=typed)
    return redirect_to(build_request_page_url(f"/login/requests/{claimed.id}", typed))


@blp.route("/requests/<login_session_id>", methods=["GET"])
@protect_page
def get_request(login_session_id: str) -> Response:
    """Show a claimed request."""
    return show_device_login(login_session_id)


@blp.route("/requests/<login_session_id>/approve", methods=["POST"])
@protect_page
@redisplay_form(show_device_login, UnknownUserCode, DeviceLoginClosed)
@writing
@require(page_session & recent_authentication)
def post_approve(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Approve the request."""
    code = request.form.get("user_code", "")
    approve_device_login(
        work, principal, get_client_info(), device_login_id=login_session_id, user_code=code
    )
    return redirect_to(f"/login/requests/{login_session_id}")


@blp.route("/requests/<login_session_id>/deny", methods=["POST"])
@protect_page
@redisplay_form(show_device_login, DeviceLoginClosed)
@writing
@require(page_session)
def post_deny(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Deny the request."""
    deny_device_login(work, principal, get_client_info(), device_login_id=login_session_id)
    return redirect_to(f"/login/requests/{login_session_id}")


@blp.route("/requests/<login_session_id>/suspicious", methods=["POST"])
@protect_page
@redisplay_form(show_device_login, DeviceLoginClosed)
@writing
@require(page_session)
def post_suspicious(work: UnitOfWork, principal: Principal, login_session_id: str) -> Response:
    """Deny the request and report that someone else made it."""
    report_device_login(work, principal, get_client_info(), device_login_id=login_session_id)
    return redirect_to(f"/login/requests/{login_session_id}")
