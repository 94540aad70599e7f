"""The session on our own pages: its requirement, its cookie, and the pages that a form may lead to.

The page cookie is valid on pages alone; the API never reads it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import request

from app.errors import Problem, Unauthenticated
from app.opaque_tokens import CODE_ALPHABET, CODE_LENGTH, normalize_code
from app.sessions.revoke import log_out
from app.sessions.signed_handles import build_page_cookie
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
MAX_COOKIES = 4  # with that name; checking one may cost a query
PAGE_SESSION_LIFETIME = timedelta(hours=12)  # of a session created on a page
HOME_PAGE = "/login/sessions"
USER_CODE_PATTERN = f"[{CODE_ALPHABET}]{{4}}-[{CODE_ALPHABET}]{{4}}"
# The only targets of a redirect. Any other target in a URL could lead to another site (CWE-601).
OWN_PAGE = re.compile(
    rf"/login/(?:sessions|activate(?:/{USER_CODE_PATTERN})?|requests/ses_[0-9A-Za-z]{{22}})"
)
OWN_PAGE_WITH_CODE = re.compile(
    rf"/login/requests/ses_[0-9A-Za-z]{{22}}\?user_code={USER_CODE_PATTERN}"
)


class ForeignPage(Problem):
    """A form was sent from another site."""

    code = "foreign_page"
    title = "Form sent from another site"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "Nothing was changed. Open the page on this site and submit the form again."
        )


def require_page_principal(work: UnitOfWork) -> Principal:
    """Return the principal of the page cookie. Raises Unauthenticated unless exactly one is valid.

    Without TLS, another service on the same host can set more cookies of this name. Invalid cookies
    are skipped, so that they cannot lock the user out.
    """
    cookies = list_cookie_values(work.settings, COOKIE_NAME)
    if len(cookies) > MAX_COOKIES:
        raise Unauthenticated
    principals = [found for cookie in cookies if (found := _find_principal(work, cookie))]
    if len(principals) != 1:
        raise Unauthenticated
    return principals[0]


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
    """Set the page cookie of a session that just authenticated.

    It expires with the browser session.
    """
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
    """Set the page cookie of a new session and log out the browser's previous one (ASVS 7.2.4)."""
    before = find_page_principal(work)
    set_page_cookie(work, response, session_id=session_id)
    if before is not None:
        # The new account's lock is released first: holding two accounts at once could deadlock.
        work.commit_and_release()
        log_out(work, before, get_client_info())
    return response


def clear_page_cookie(work: UnitOfWork, response: Response) -> Response:
    """Delete the page cookie."""
    clear_host_cookie(response, work.settings, COOKIE_NAME, samesite="Lax")
    return response


def reject_foreign_forms() -> None:
    """Raise ForeignPage for a form that none of our own pages sent."""
    if request.method == "POST" and not is_from_own_pages(get_unit_of_work_factory().settings):
        raise ForeignPage


def restrict_to_own_pages(wanted: str) -> str:
    """Return the requested page if it is one of ours, else the list of sessions."""
    return (
        wanted if OWN_PAGE.fullmatch(wanted) or OWN_PAGE_WITH_CODE.fullmatch(wanted) else HOME_PAGE
    )


def get_current_page() -> str:
    """Return the page of the current request, or the page that its form names as `next`."""
    found = OWN_PAGE.match(request.path)
    if found is None:
        return restrict_to_own_pages(request.values.get("next", ""))
    return restrict_to_own_pages(
        build_request_page_url(found[0], request.values.get("user_code", ""))
    )


def build_request_page_url(page: str, typed: str) -> str:
    """Return the page with the user code added if it is the approval page of a device login."""
    code = format_user_code(typed)
    return (
        f"{page}?{urlencode({'user_code': code})}"
        if code and page.startswith("/login/requests/")
        else page
    )


def format_user_code(typed: str) -> str:
    """Format a user code as XXXX-XXXX. Returns an empty string for an invalid code."""
    code = normalize_code(typed)
    return (
        f"{code[:4]}-{code[4:]}"
        if len(code) == CODE_LENGTH and set(code) <= set(CODE_ALPHABET)
        else ""
    )
