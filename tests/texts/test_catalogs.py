"""The catalogs are complete, and every page and email can be rendered in every language."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from app.i18n import CATALOGS, LANGUAGES
from app.notifications.mail.enqueue import EmailTemplate
from tests.texts.samples import (
    OUTCOMES,
    PAGES,
    build_problem,
    list_page_names,
    render_outcome,
    render_sample_email,
    render_sample_page,
)

ROOT = Path(__file__).parents[2]
TRANSLATED = [language for language in LANGUAGES if language != "en"]
PROBLEMS = (
    "invalid_token",
    "not_found",
    "no_such_address",
    "method_not_allowed",
    "internal_error",
    "foreign_page",
    "busy",
    "unavailable",
    "body_too_large",
    "untrusted_host",
    "bad_request",
)


def read_catalog(language: str):
    with (CATALOGS / language / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file)


def extract_messages() -> set[str | tuple[str, ...]]:
    """The messages of the source code, extracted as `make messages` does."""
    mappings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["babel"]["mappings"]
    methods = [(mapping["pattern"], mapping["method"]) for mapping in mappings]
    options = {
        mapping["pattern"]: {
            key: value for key, value in mapping.items() if key not in {"pattern", "method"}
        }
        for mapping in mappings
    }
    keywords = {
        "_": None,
        "gettext": None,
        "ngettext": (1, 2),
        "translate": (2,),
        "translate_plural": (2, 3),
        "mark_message": None,
    }
    found = extract_from_dir(ROOT / "app", methods, options, keywords)
    return {message for _, _, message, _, _ in found}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_is_translated(language):
    catalog = read_catalog(language)
    translated = {
        message.id: message.string for message in catalog if message.id and not message.fuzzy
    }
    assert set(translated) == extract_messages(), "run `make messages`"
    for source, translation in translated.items():
        assert all([translation] if isinstance(source, str) else translation), source
    for message in catalog:
        assert list(message.check(catalog)) == [], message.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_compiled_catalog_is_current(language):
    compiled = io.BytesIO()
    write_mo(compiled, read_catalog(language))
    stored = (CATALOGS / language / "LC_MESSAGES" / "messages.mo").read_bytes()
    assert compiled.getvalue() == stored, "run `make messages`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_rendered_in_every_language(sqlite_service, language):
    assert set(PAGES) == list_page_names()
    for name in PAGES:
        page = render_sample_page(sqlite_service, language, name)
        assert (page.name, page.language) == (name, language)
        assert "%(" not in page.text
    for state in OUTCOMES:
        for redeemed in (False, True):
            assert render_outcome(sqlite_service, language, state, redeemed=redeemed).state == state


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_is_rendered_in_every_language(sqlite_service, language):
    for code in PROBLEMS:
        for path in ("/login", "/reset/x", "/confirm/x"):
            problem = build_problem(code, status=503 if code in {"busy", "unavailable"} else 400)
            page = render_sample_page(
                sqlite_service, language, "problem", problem=problem, path=path
            )
            assert (page.problem, page.language) == (code, language)
    for name, code in (
        ("activate", "unknown_user_code"),
        ("confirm", "validation_failed"),
        ("device_login", "unknown_user_code"),
        ("device_login", "login_session_over"),
        ("login", "invalid_credentials"),
        ("must_change_password", "password_mismatch"),
        ("must_change_password", "validation_failed"),
        ("reauthenticate", "wrong_password"),
        ("reset", "password_mismatch"),
        ("reset", "validation_failed"),
        ("sessions", "wrong_password"),
        ("sessions", "password_mismatch"),
        ("sessions", "validation_failed"),
    ):
        page = render_sample_page(sqlite_service, language, name, problem=build_problem(code))
        assert (page.name, page.problem) == (name, code)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("template", EmailTemplate)
def test_every_email_is_rendered_in_every_language(sqlite_service, language, template):
    email = render_sample_email(sqlite_service, language, template)
    assert email.subject == email.subject.strip() != ""
    assert f'<html lang="{language}">' in email.html
    for body in (email.text, email.html):
        assert "%(" not in body
        assert "{{" not in body
