"""The page of a user's sessions and trusted devices, with the form to change the password."""

from __future__ import annotations

from flask import Response, request

from app.authentication.errors import WrongPassword
from app.authentication.trusted_devices.manage import forget_trusted_device, list_trusted_devices
from app.errors import Problem
from app.pages.render import protect_page, redirect_to, redisplay_form, render_page
from app.passwords.change import change_password
from app.principal import Principal
from app.sessions.revoke import log_out_everywhere, revoke_other_sessions, revoke_session
from app.sessions.show import get_session, list_sessions
from app.sessions.suspicious import report_suspicious_session
from app.unit_of_work import UnitOfWork
from app.web.auth.page_session import HOME_PAGE, clear_page_cookie, page_session, set_page_cookie
from app.web.auth.requirements import require
from app.web.client_info import get_client_info
from app.web.routes import PageBlueprint
from app.web.unit_of_work import reading, writing

blp = PageBlueprint("sessions_page", __name__)


@reading
@require(page_session)
def show_overview(
    work: UnitOfWork, principal: Principal, problem: Problem | None = None
) -> Response:
    """Show the sessions, the trusted devices and the password form."""
    return render_page(
        "sessions",
        username=principal.username,
        sessions=list_sessions(work, principal),
        devices=list_trusted_devices(work, principal),
        min_length=work.settings.password_min_length,
        problem=problem,
    )


@blp.route("/login/sessions", methods=["GET"])
@protect_page
def get_sessions() -> Response:
    """Show the overview."""
    return show_overview()


@blp.route("/login/sessions/<session_id>/end", methods=["POST"])
@protect_page
@writing
@require(page_session)
def post_end(work: UnitOfWork, principal: Principal, session_id: str) -> Response:
    """Revoke one session."""
    revoke_session(work, principal, get_client_info(), session_id=session_id)
    return redirect_to(HOME_PAGE)


@blp.route("/login/sessions/<session_id>/suspicious", methods=["POST"])
@protect_page
@writing
@require(page_session)
def post_suspicious(work: UnitOfWork, principal: Principal, session_id: str) -> Response:
    """Revoke one of the user's own sessions and report it as opened by someone else."""
    # Raises NotFound for the sessions of others, also if the user is an administrator.
    get_session(work, principal, session_id=session_id)
    report_suspicious_session(work, principal, get_client_info(), session_id=session_id)
    return render_page("session_reported", username=principal.username)


@blp.route("/login/sessions/end-others", methods=["POST"])
@protect_page
@writing
@require(page_session)
def post_revoke_other_sessions(work: UnitOfWork, principal: Principal) -> Response:
    """Revoke every other session."""
    revoke_other_sessions(work, principal, get_client_info())
    return redirect_to(HOME_PAGE)


@blp.route("/login/sessions/end-all", methods=["POST"])
@protect_page
@writing
@require(page_session)
def post_end_all(work: UnitOfWork, principal: Principal) -> Response:
    """Revoke every session, including this one."""
    log_out_everywhere(work, principal, get_client_info())
    return clear_page_cookie(work, render_page("signed_out"))


@blp.route("/login/devices/<device_id>/forget", methods=["POST"])
@protect_page
@writing
@require(page_session)
def post_forget(work: UnitOfWork, principal: Principal, device_id: str) -> Response:
    """Remove a trusted device."""
    forget_trusted_device(work, principal, get_client_info(), device_id=device_id)
    return redirect_to(HOME_PAGE)


@blp.route("/login/password", methods=["POST"])
@protect_page
@redisplay_form(show_overview, WrongPassword)
@writing
@require(page_session)
def post_password(work: UnitOfWork, principal: Principal) -> Response:
    """Change the password, revoke every other session and replace the cookie."""
    old, new, again = (request.form.get(name, "") for name in ("old", "new", "again"))
    change_password(
        work,
        principal,
        get_client_info(),
        old_password=old,
        new_password=new,
        verify_password=again,
    )
    return set_page_cookie(
        work,
        render_page("password_changed", username=principal.username),
        session_id=principal.session_id,
    )


@blp.route("/.well-known/change-password", methods=["GET"])
def get_change_password() -> Response:
    """Redirect password managers to the form (W3C, A Well-Known URL for Changing Passwords)."""
    response = redirect_to(f"{HOME_PAGE}#password")
    response.status_code = 302
    return response
