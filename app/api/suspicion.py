"""Endpoints for reporting sessions as suspicious."""

from __future__ import annotations

from app.device_login.unflag import clear_suspicious_flag
from app.errors import NotFound
from app.principal import Principal
from app.sessions.errors import SessionNotSuspicious
from app.sessions.recent_authentication import ReauthenticationRequired
from app.sessions.suspicious import report_suspicious_session
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import recent_authentication, require, session
from app.web.client_info import get_client_info
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.unit_of_work import writing

blp = Blueprint(
    "suspicion", __name__, url_prefix="/v1/sessions", description="Reports of suspicious sessions."
)


@blp.route("/<session_id>/suspicious", methods=["POST"])
@writing
@require(session)
@document_problems(NotFound, ReauthenticationRequired)
@blp.response(204)
def post_suspicious_session(work: UnitOfWork, principal: Principal, session_id: str) -> None:
    """Report a session as suspicious.

    Its tokens stop working, and its owner gets an email with advice.

    You can report an ended session too. For a day, its source can start a device login only once in
    ten minutes. Administrators with a recent authentication can report any session.
    """
    report_suspicious_session(work, principal, get_client_info(), session_id=session_id)


@blp.route("/<session_id>/suspicious", methods=["DELETE"])
@writing
@require(session & recent_authentication)
@document_problems(NotFound, SessionNotSuspicious)
@blp.response(204)
def delete_suspicious_session(work: UnitOfWork, principal: Principal, session_id: str) -> None:
    """Withdraw a report. The session stays revoked; its source is no longer restricted.

    This includes the source of a device login that was reported before its approval; it stays
    denied.
    """
    clear_suspicious_flag(work, principal, get_client_info(), session_id=session_id)
