"""The English texts of pages and emails. Other tests assert codes and structure instead."""

from __future__ import annotations

import pytest

from app.authentication.passwords.messages import describe_reason
from app.authentication.passwords.normalize import RejectionReason
from tests.texts.samples import (
    build_problem,
    render_outcome,
    render_sample_email,
    render_sample_page,
)

PAGES = {
    "activate": "Connect a device",
    "confirm": "Confirm your email address",
    "confirmed": "Your account is ready",
    "device_login": "Approve sign-in on this device?",
    "forgot": "Forgot your password?",
    "forgot_sent": "Check your email",
    "login": "Sign in to review the request of the other device.",
    "must_change_password": "Your password is correct, but you must change it before you can sign in.",
    "password_changed": "All your other sessions were signed out. You are still signed in here.",
    "password_set": "You were signed out everywhere. Sign in with your new password.",
    "problem": "Page not found",
    "reauthenticate": "Confirm your password",
    "reset": "Set a new password for ann. You will be signed out everywhere.",
    "session_reported": "Session revoked and reported",
    "sessions": "If you don’t recognize a session, select “This wasn’t me” and change your password.",
    "signed_out": "You are signed out",
}
FIELDS = {
    "login": ("Username or email address", "Password"),
    "reset": ("New password", "Confirm new password"),
    "sessions": ("Current password", "New password", "Confirm new password", "This device"),
    "device_login": ("Approve", "Deny", "This wasn’t me", "IP address", "Up to 7 days."),
}
OUTCOMES = {
    ("approved", False): "The device will be signed in within a few seconds.",
    ("live", True): "You can sign it out at any time under your sessions.",
    ("denied", False): "The device was not signed in, and it has been told that you denied",
    ("suspicious", False): "Denied and reported",
    ("suspicious", True): "Session revoked as suspicious",
    ("cancelled", False): "Canceled on the other device",
    ("expired", False): "Codes expire after 10 minutes.",
    ("expired", True): "Session expired",
    ("revoked", True): "To sign in again, the device needs a new code.",
}
PROBLEMS = {
    ("login", "invalid_credentials"): "Incorrect username or password.",
    ("reauthenticate", "wrong_password"): "Incorrect password.",
    ("sessions", "wrong_password"): "Your current password is incorrect. Nothing was changed.",
    ("reset", "password_mismatch"): "The passwords don’t match.",
    ("reset", "validation_failed"): "The password is too short.",
    ("activate", "unknown_user_code"): "This code is unknown or has expired.",
    ("problem", "foreign_page"): "Request blocked",
    ("problem", "internal_error"): "mention the request ID req_1.",
}
EMAILS = {
    "confirm_new": "Confirm your email address for ",
    "already_registered": "You already have an account at ",
    "password_reset": "Reset your password for ",
    "reset_unknown": "No account at ",
    "password_changed": "Your password at ",
    "new_login": "New sign-in to your account at ",
    "suspicious_session": "A session at ",
    "reported_session": "A session at ",
    "suspicious_login": "Someone tried to access your account at ",
    "invitation": "Your account at ",
    "account_deleted": "Your account at ",
    "api_key_leaked": "Your API key at ",
    "api_key_expiring": "Your API key at ",
}


@pytest.mark.parametrize("name", PAGES)
def test_page_text(sqlite_service, name):
    text = render_sample_page(sqlite_service, "en", name).text
    assert PAGES[name] in text
    for field in FIELDS.get(name, ()):
        assert field in text


@pytest.mark.parametrize(("state", "redeemed"), OUTCOMES)
def test_device_login_outcome(sqlite_service, state, redeemed):
    page = render_outcome(sqlite_service, "en", state, redeemed=redeemed)
    assert OUTCOMES[state, redeemed] in page.text


@pytest.mark.parametrize(("name", "code"), PROBLEMS)
def test_problem_text(sqlite_service, name, code):
    page = render_sample_page(sqlite_service, "en", name, problem=build_problem(code))
    assert PROBLEMS[name, code] in page.text


@pytest.mark.parametrize("template", EMAILS)
def test_email_subject(sqlite_service, template):
    assert render_sample_email(sqlite_service, "en", template).subject.startswith(EMAILS[template])


def test_email_text(sqlite_service):
    email = render_sample_email(sqlite_service, "en", "confirm_new")
    assert email.text == (
        "Hello,\n\n"
        "Someone, probably you, wants to create an account at 127.0.0.1:8080 with this email "
        "address and the username ann.\n\n"
        "Open this link within 24 hours to confirm your email address and choose a password:\n\n"
        "https://auth.example.org/reset/x\n\n"
        "Or enter this code where you registered, within 30 minutes:\n\n"
        "  BCDF-GHJK\n\n"
        "If this wasn’t you, ignore this email and no account will be created.\n"
    )
    reported = render_sample_email(sqlite_service, "en", "reported_session").text
    assert "Someone who is signed in to your account reported" in reported
    reported = render_sample_email(
        sqlite_service, "en", "reported_session", by="administrator"
    ).text
    assert "An administrator of 127.0.0.1:8080 reported" in reported
    for template, period in (("invitation", "72 hours"), ("password_reset", "30 minutes")):
        assert period in render_sample_email(sqlite_service, "en", template).text


def test_html_email_has_the_same_texts(sqlite_service):
    email = render_sample_email(sqlite_service, "en", "password_changed")
    for text in ("Your password was changed on 2026-12-01 10:30 UTC.", "deploy", "build"):
        assert text in email.text
        assert text in email.html
    assert "<li>deploy</li>" in email.html


def test_password_rejection_reasons():
    texts = {reason: describe_reason(reason, "en", min_length=15) for reason in RejectionReason}
    assert texts[RejectionReason.TOO_SHORT].startswith("must have at least 15 characters")
    assert texts[RejectionReason.TOO_LONG] == "must have at most 128 characters"
    assert texts[RejectionReason.UNCHANGED] == "is your current password; choose another one"
