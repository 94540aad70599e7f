"""The German texts of pages and emails. Other tests assert codes and structure instead."""

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
    "activate": "Gerät verbinden",
    "confirm": "E-Mail-Adresse bestätigen",
    "confirmed": "Ihr Konto ist bereit",
    "device_login": "Anmeldung auf diesem Gerät erlauben?",
    "forgot": "Passwort vergessen?",
    "forgot_sent": "Prüfen Sie Ihre E-Mails",
    "login": "Melden Sie sich an, um die Anfrage des anderen Geräts zu prüfen.",
    "must_change_password": "Ihr Passwort ist richtig, muss aber vor der Anmeldung geändert werden.",
    "password_changed": "Alle anderen Sitzungen wurden abgemeldet. Hier sind Sie weiterhin angemeldet.",
    "password_set": "Sie wurden überall abgemeldet. Melden Sie sich mit Ihrem neuen Passwort an.",
    "problem": "Seite nicht gefunden",
    "reauthenticate": "Passwort bestätigen",
    "reset": "Legen Sie ein neues Passwort für ann fest. Sie werden dabei überall abgemeldet.",
    "session_reported": "Sitzung beendet und gemeldet",
    "sessions": "Wenn Sie eine Sitzung nicht kennen, wählen Sie „Das war ich nicht“ und ändern Sie Ihr Passwort.",
    "signed_out": "Sie sind abgemeldet",
}
FIELDS = {
    "login": ("Benutzername oder E-Mail-Adresse", "Passwort"),
    "reset": ("Neues Passwort", "Neues Passwort bestätigen"),
    "sessions": ("Aktuelles Passwort", "Neues Passwort bestätigen", "Dieses Gerät"),
    "device_login": ("Erlauben", "Ablehnen", "Das war ich nicht", "IP-Adresse", "Bis zu 7 Tage."),
}
OUTCOMES = {
    ("approved", False): "Das Gerät wird in wenigen Sekunden angemeldet.",
    ("live", True): "Sie können es jederzeit unter Ihre Sitzungen abmelden.",
    ("denied", False): "Das Gerät wurde nicht angemeldet und über die Ablehnung informiert.",
    ("suspicious", False): "Abgelehnt und gemeldet",
    ("suspicious", True): "Sitzung als verdächtig beendet",
    ("cancelled", False): "Auf dem anderen Gerät abgebrochen",
    ("expired", False): "Codes sind 10 Minuten gültig.",
    ("expired", True): "Sitzung abgelaufen",
    ("revoked", True): "Für eine erneute Anmeldung braucht das Gerät einen neuen Code.",
}
PROBLEMS = {
    ("login", "invalid_credentials"): "Benutzername oder Passwort ist falsch.",
    ("reauthenticate", "wrong_password"): "Das Passwort ist falsch.",
    ("sessions", "wrong_password"): "Ihr aktuelles Passwort ist falsch. Es wurde nichts geändert.",
    ("reset", "password_mismatch"): "Die Passwörter stimmen nicht überein.",
    ("reset", "validation_failed"): "Das Passwort is too short.",
    ("activate", "unknown_user_code"): "Dieser Code ist unbekannt oder abgelaufen.",
    ("problem", "foreign_page"): "Anfrage blockiert",
    ("problem", "internal_error"): "nennen Sie die Anfrage-ID req_1.",
}
EMAILS = {
    "confirm_new": "Bestätigen Sie Ihre E-Mail-Adresse für ",
    "already_registered": "Sie haben bereits ein Konto bei ",
    "password_reset": "Passwort für ",
    "reset_unknown": "Kein Konto bei ",
    "password_changed": "Ihr Passwort bei ",
    "new_login": "Neue Anmeldung in Ihrem Konto bei ",
    "suspicious_session": "Eine Sitzung bei ",
    "reported_session": "Eine Sitzung bei ",
    "suspicious_login": "Jemand hat versucht, auf Ihr Konto bei ",
    "invitation": "Ihr Konto bei ",
    "account_deleted": "Ihr Konto bei ",
    "api_key_leaked": "Ihr API-Schlüssel bei ",
    "api_key_expiring": "Ihr API-Schlüssel bei ",
}


@pytest.mark.parametrize("name", PAGES)
def test_page_text(sqlite_service, name):
    text = render_sample_page(sqlite_service, "de", name).text
    assert PAGES[name] in text
    for field in FIELDS.get(name, ()):
        assert field in text


@pytest.mark.parametrize(("state", "redeemed"), OUTCOMES)
def test_device_login_outcome(sqlite_service, state, redeemed):
    page = render_outcome(sqlite_service, "de", state, redeemed=redeemed)
    assert OUTCOMES[state, redeemed] in page.text


@pytest.mark.parametrize(("name", "code"), PROBLEMS)
def test_problem_text(sqlite_service, name, code):
    page = render_sample_page(sqlite_service, "de", name, problem=build_problem(code))
    assert PROBLEMS[name, code] in page.text


@pytest.mark.parametrize("template", EMAILS)
def test_email_subject(sqlite_service, template):
    assert render_sample_email(sqlite_service, "de", template).subject.startswith(EMAILS[template])


def test_email_text(sqlite_service):
    email = render_sample_email(sqlite_service, "de", "confirm_new")
    assert email.text == (
        "Guten Tag,\n\n"
        "Jemand, vermutlich Sie, möchte bei 127.0.0.1:8080 mit dieser E-Mail-Adresse und dem "
        "Benutzernamen ann ein Konto anlegen.\n\n"
        "Öffnen Sie innerhalb von 24 Stunden diesen Link, um Ihre E-Mail-Adresse zu bestätigen "
        "und ein Passwort zu wählen:\n\n"
        "https://auth.example.org/reset/x\n\n"
        "Oder geben Sie innerhalb von 30 Minuten diesen Code dort ein, wo Sie sich registriert "
        "haben:\n\n"
        "  BCDF-GHJK\n\n"
        "Wenn Sie das nicht waren, ignorieren Sie diese E-Mail. Dann wird kein Konto angelegt.\n"
    )
    reported = render_sample_email(sqlite_service, "de", "reported_session").text
    assert "Jemand, der in Ihrem Konto angemeldet ist, hat diese Sitzung" in reported
    reported = render_sample_email(
        sqlite_service, "de", "reported_session", by="administrator"
    ).text
    assert "Die Administration von 127.0.0.1:8080 hat diese Sitzung" in reported
    for template, period in (("invitation", "72 Stunden"), ("password_reset", "30 Minuten")):
        assert period in render_sample_email(sqlite_service, "de", template).text


def test_html_email_has_the_same_texts(sqlite_service):
    email = render_sample_email(sqlite_service, "de", "password_changed")
    for text in ("Ihr Passwort wurde am 2026-12-01 10:30 UTC geändert.", "deploy", "build"):
        assert text in email.text
        assert text in email.html
    assert "<li>deploy</li>" in email.html


def test_password_rejection_reasons():
    texts = {reason: describe_reason(reason, "de", min_length=15) for reason in RejectionReason}
    assert texts[RejectionReason.TOO_SHORT].startswith("muss mindestens 15 Zeichen lang sein")
    assert texts[RejectionReason.TOO_LONG] == "darf höchstens 128 Zeichen lang sein"
    assert texts[RejectionReason.UNCHANGED] == "ist Ihr aktuelles Passwort; wählen Sie ein anderes"
