"""Saying that a session is not one's own."""

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
    "suspicion",
    __name__,
    url_prefix="/v1/sessions",
    description="Saying that a session is not one's own.",
)


@blp.route("/<session_id>/suspicious", methods=["POST"])
@writing
@require(session)
@document_problems(NotFound, ReauthenticationRequired)
@blp.response(204)
def post_suspicious_session(work: UnitOfWork, principal: Principal, session_id: str) -> None:
    """Call a session suspicious, also one that is over: all its tokens stop at once, and its owner is told by mail what to do.

    From where it came, a login from another device may be asked for only once in ten minutes, for a day. An administrator may say it
    of anybody's session, with a password typed in the last five minutes.
    """
    report_suspicious_session(work, principal, get_client_info(), session_id=session_id)


@blp.route("/<session_id>/suspicious", methods=["DELETE"])
@writing
@require(session & recent_authentication)
@document_problems(NotFound, SessionNotSuspicious)
@blp.response(204)
def delete_suspicious_session(work: UnitOfWork, principal: Principal, session_id: str) -> None:
    """Take it back. The session stays over and none of its tokens counts again; its source is held back no more.

    So is that of a login from another device that was called suspicious before it was let in; it stays denied.
    """
    clear_suspicious_flag(work, principal, get_client_info(), session_id=session_id)
