"""Languages: which ones there are, and texts in one of them.

English texts are the message ids. Every other language is a folder in `app/locales` with a gettext
catalog, `LC_MESSAGES/messages.po`, which `make messages` updates and compiles.
"""

from __future__ import annotations

import gettext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import pass_context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jinja2 import Environment
    from jinja2.runtime import Context

CATALOGS = Path(__file__).parent / "locales"
DEFAULT_LANGUAGE = "en"
LANGUAGES = (
    DEFAULT_LANGUAGE,
    *sorted(path.parts[-3] for path in CATALOGS.glob("*/LC_MESSAGES/messages.mo")),
)


def match_language(locale: str) -> str:
    """Return the supported language of a locale: `de` for `de-AT`, English if there is none."""
    return choose_language([locale])


def choose_language(locales: Iterable[str]) -> str:
    """Return the language of the first supported locale, English if there is none."""
    languages = (locale.partition("-")[0].lower() for locale in locales)
    return next((language for language in languages if language in LANGUAGES), DEFAULT_LANGUAGE)


def mark_message(message: str) -> str:
    """Return a constant unchanged. Marks it for extraction into the catalogs."""
    return message


def translate(language: str, message: str, **values: object) -> str:
    """Translate a message and fill in its `%(name)s` placeholders."""
    return load_catalog(language).gettext(message) % values


def translate_plural(language: str, singular: str, plural: str, count: int) -> str:
    """Translate a message that contains `%(count)d`."""
    return load_catalog(language).ngettext(singular, plural, count) % {"count": count}


@cache
def load_catalog(language: str) -> gettext.NullTranslations:
    if language == DEFAULT_LANGUAGE:
        return gettext.NullTranslations()
    return gettext.translation("messages", CATALOGS, [language])


def install_translations(environment: Environment) -> None:
    """Enable `{% trans %}` and `_()` in templates. They translate into the language `lang`."""
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        _translate_in_template, _translate_plural_in_template, newstyle=True
    )


@pass_context
def _translate_in_template(context: Context, message: str) -> str:
    return load_catalog(context["lang"]).gettext(message)


@pass_context
def _translate_plural_in_template(context: Context, singular: str, plural: str, count: int) -> str:
    return load_catalog(context["lang"]).ngettext(singular, plural, count)
