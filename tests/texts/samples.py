"""Every page and email, rendered with sample values in any language."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app import pages
from app.device_login.show import ActingSession, DeviceLoginView
from app.errors import InvalidInput, Problem
from app.notifications.mail.enqueue import Email, EmailTemplate
from app.notifications.mail.render import RenderedEmail, render_email
from app.pages.render import render_page
from tests.actors import Service
from tests.pages.browser import Page

TEMPLATES = Path(pages.__path__[0]) / "templates"
# Templates that are parts of pages, or for developers and in English only.
NOT_TRANSLATED = {"layout", "account", "macros", "docs", "mailbox"}
NOW = datetime(2026, 12, 1, 10, 30, tzinfo=UTC)

DEVICE_LOGIN = DeviceLoginView(
    id="ses_0000000000000000000000",
    state="claimed",
    client_id="doorward",
    client_name="backup",
    hostname="rack-7",
    login_message="nightly",
    check_phrase="safeness hangout flyer",
    scope="orders:read",
    granted_scope=None,
    expires_in=7 * 86_400,
    address="203.0.113.7",
    user_agent="cli/1",
    account_id="acc_0000000000000000000000",
    created_at=NOW,
    expires_at=NOW,
    claimed_at=NOW,
    claimed_with=None,
    decided_at=None,
    decided_with=None,
    redeemed_at=None,
    ended_at=None,
)
SESSION = SimpleNamespace(
    id="ses_1111111111111111111111",
    device_name="Phone",
    user_agent="",
    current=False,
    created_at=NOW,
    address="203.0.113.7",
    approved_by=None,
    last_used_at=NOW,
    last_address="203.0.113.8",
    expires_at=NOW,
)
DEVICE = SimpleNamespace(
    id="dev_1", name=None, user_agent="", created_at=NOW, address="203.0.113.7", last_used_at=NOW
)

PAGES: dict[str, dict[str, Any]] = {
    "activate": {"username": "ann", "code": "BCDF-GHJK", "by_link": True},
    "confirm": {"username": "ann", "min_length": 15},
    "confirmed": {"username": "ann"},
    "device_login": {
        "username": "ann",
        "device_login": DEVICE_LOGIN,
        "code": "BCDF-GHJK",
        "is_recent": True,
        "this_page": "/login/sessions",
    },
    "forgot": {},
    "forgot_sent": {},
    "login": {"next": "/login/activate", "username": ""},
    "must_change_password": {
        "next": "/login/sessions",
        "username": "ann",
        "token": "x",
        "min_length": 15,
    },
    "password_changed": {"username": "ann"},
    "password_set": {},
    "problem": {"request_id": "req_1"},
    "reauthenticate": {"next": "/login/sessions", "username": "ann"},
    "reset": {"username": "ann", "min_length": 15},
    "session_reported": {"username": "ann"},
    "sessions": {
        "username": "ann",
        "sessions": [SESSION, SimpleNamespace(**{**vars(SESSION), "current": True})],
        "devices": [DEVICE],
        "min_length": 15,
    },
    "signed_out": {},
}
DECISION = {
    "decided_at": NOW,
    "decided_with": ActingSession("ses_2222222222222222222222", "203.0.113.9", "Firefox"),
}
OUTCOMES = (
    "approved",
    "live",
    "denied",
    "suspicious",
    "cancelled",
    "expired",
    "logged_out",
    "revoked",
)
EMAIL_VALUES = {
    "username": "ann",
    "name": "Ann",
    "link": "https://auth.example.org/reset/x",
    "code": "BCDF-GHJK",
    "at": "2026-12-01 10:30 UTC",
    "erased": "2026-12-31",
    "expires_at": "2026-12-31 10:30 UTC",
    "prefix": "dwk_abc…",
    "address": "203.0.113.7",
    "device": "Firefox on Linux",
    "begun": "2026-12-01 10:30 UTC",
    "by": "owner",
    "client": "backup",
    "agent": "cli/1",
    "keys": "deploy\nbuild",
}


def list_page_names() -> set[str]:
    return {path.stem for path in TEMPLATES.glob("*.html")} - NOT_TRANSLATED


def build_problem(code: str, *, status: int = 422, reasons: str = "is too short") -> Problem:
    """A problem as pages show it."""
    problem = InvalidInput(errors={"/password": [reasons]})
    problem.code, problem.status = code, status
    return problem


def render_sample_page(service: Service, language: str, name: str, **changes: Any) -> Page:
    """Render a page with its sample values."""
    path = changes.pop("path", "/login")
    with service.app.test_request_context(path, headers={"Accept-Language": language}):
        values = {**PAGES[name], **changes}
        if name == "problem" and "problem" not in values:
            values["problem"] = build_problem("not_found", status=404)
        return Page(render_page(name, **values).get_data(as_text=True))


def render_outcome(service: Service, language: str, state: str, *, redeemed: bool) -> Page:
    """Render the page of a decided device login."""
    view = dataclasses.replace(
        DEVICE_LOGIN, state=state, redeemed_at=NOW if redeemed else None, **DECISION
    )
    return render_sample_page(service, language, "device_login", device_login=view)


def render_sample_email(
    service: Service, language: str, template: EmailTemplate, **changes: str
) -> RenderedEmail:
    email = Email("ann@example.org", language, {**EMAIL_VALUES, **changes})
    return render_email(service.settings, template, email)
