"""The door of our own pages: who is signed in by the page cookie, and nothing else. No other route reads that cookie."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import request

from app.errors import Problem, Unauthenticated
from app.opaque_tokens import CODE_ALPHABET, CODE_LENGTH, normalize_code
from app.sessions.page_cookies import build_page_cookie
from app.sessions.revoke import log_out
from app.verification.credentials import CredentialType, PresentedCredential, principal_for
from app.web.auth.requirements import Requirement
from app.web.client_info import get_client_info
from app.web.cookies import (
    clear_host_cookie,
    is_from_own_pages,
    list_cookie_values,
    set_host_cookie,
)
from app.web.unit_of_work import get_unit_of_work_factory

if TYPE_CHECKING:
    from flask import Response

    from app.principal import Principal
    from app.unit_of_work import UnitOfWork

COOKIE_NAME = "doorward"
MAX_COOKIES = 4  # of that name that are looked at; each may cost a query
PAGE_SESSION_LIFETIME = timedelta(hours=12)  # of a session that was opened on a page
HOME_PAGE = "/login/sessions"
USER_CODE_PATTERN = f"[{CODE_ALPHABET}]{{4}}-[{CODE_ALPHABET}]{{4}}"
# Where a page may send somebody on to. Anything else that stands in an address is a way to another site (CWE-601).
OWN_PAGE = re.compile(
    rf"/login/(?:sessions|activate(?:/{USER_CODE_PATTERN})?|requests/ses_[0-9A-Za-z]{{22}})"
)
OWN_PAGE_WITH_CODE = re.compile(
    rf"/login/requests/ses_[0-9A-Za-z]{{22}}\?user_code={USER_CODE_PATTERN}"
)


class ForeignPage(Problem):
    """A form that was not sent by a page of this service."""

    code = "foreign_page"
    title = "This was not sent from a page of this service"
    status = 403

    def __init__(self) -> None:
        super().__init__("Nothing was changed. Open the page here and send the form from there.")


def require_page_principal(work: UnitOfWork) -> Principal:
    """Whoever has signed in on a page of ours. Raises Unauthenticated, also where two cookies are good: neither is guessed to be meant.

    Without TLS anybody at the same host can plant more of them. What is no good is passed over, or it would lock the owner out.
    """
    shown = list_cookie_values(work.settings, COOKIE_NAME)
    found = (
        [whose for cookie in shown if (whose := _find_principal(work, cookie))]
        if len(shown) <= MAX_COOKIES
        else []
    )
    if len(found) != 1:
        raise Unauthenticated
    return found[0]


def _find_principal(work: UnitOfWork, cookie: str) -> Principal | None:
    try:
        return principal_for(work, PresentedCredential(CredentialType.PAGE_COOKIE, cookie))
    except Unauthenticated:
        return None


def find_page_principal(work: UnitOfWork) -> Principal | None:
    try:
        return require_page_principal(work)
    except Unauthenticated:
        return None


# A live session, by the page cookie.
page_session = Requirement(require_page_principal, [], (Unauthenticated,))


def set_page_cookie(work: UnitOfWork, response: Response, *, session_id: str) -> Response:
    """Give the browser the cookie of a session in which the password has just been typed, until it is closed."""
    set_host_cookie(
        response,
        work.settings,
        COOKIE_NAME,
        build_page_cookie(work, session_id=session_id),
        max_age=None,
        samesite="Lax",
    )
    return response


def replace_page_session(work: UnitOfWork, response: Response, *, session_id: str) -> Response:
    """The same with a session that was just opened. The one that the browser had until now ends, whosever it is (ASVS 7.2.4)."""
    before = find_page_principal(work)
    set_page_cookie(work, response, session_id=session_id)
    if before is not None:
        # The new account's lock is released first: holding two accounts at once could deadlock.
        work.commit_and_release()
        log_out(work, before, get_client_info())
    return response


def clear_page_cookie(work: UnitOfWork, response: Response) -> Response:
    """Have the browser forget the cookie."""
    clear_host_cookie(response, work.settings, COOKIE_NAME, samesite="Lax")
    return response


def reject_foreign_forms() -> None:
    """A form counts only when one of our own pages sent it. Raises ForeignPage."""
    if request.method == "POST" and not is_from_own_pages(get_unit_of_work_factory().settings):
        raise ForeignPage


def restrict_to_own_pages(wanted: str) -> str:
    """The page that is meant, if it is one of ours; the list of sessions for anything else."""
    return (
        wanted if OWN_PAGE.fullmatch(wanted) or OWN_PAGE_WITH_CODE.fullmatch(wanted) else HOME_PAGE
    )


def get_current_page() -> str:
    """The page that the present request is for, or from."""
    found = OWN_PAGE.match(request.path)
    if found is None:
        return restrict_to_own_pages(request.values.get("next", ""))
    return restrict_to_own_pages(
        build_request_page_url(found[0], request.values.get("user_code", ""))
    )


def build_request_page_url(page: str, typed: str) -> str:
    """The page of a request, with the code that was typed; whoever has claimed the request is the only one it serves."""
    code = format_user_code(typed)
    return (
        f"{page}?{urlencode({'user_code': code})}"
        if code and page.startswith("/login/requests/")
        else page
    )


def format_user_code(typed: str) -> str:
    """A user code as it is shown, empty for what can be none."""
    code = normalize_code(typed)
    return (
        f"{code[:4]}-{code[4:]}"
        if len(code) == CODE_LENGTH and set(code) <= set(CODE_ALPHABET)
        else ""
    )
