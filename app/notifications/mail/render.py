"""Mail as text and HTML, in the language of whoever reads it. The subject is the first line of the text template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

if TYPE_CHECKING:
    from app.notifications.mail.enqueue import Email
    from app.settings import Settings

LANGUAGES = ("en", "de")

_templates = Environment(
    loader=PackageLoader("app.notifications.mail", "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """A mail as it will be read."""

    to: str
    subject: str
    text: str
    html: str

    @property
    def links(self) -> list[str]:
        return re.findall(r"https?://[^\s<>\"]+", self.text)


def match_language(locale: str) -> str:
    """The nearest language there are templates for: de-AT is de, anything unknown is en."""
    wanted = locale.partition("-")[0].lower()
    return wanted if wanted in LANGUAGES else LANGUAGES[0]


def render_email(settings: Settings, template: str, email: Email) -> RenderedEmail:
    folder = match_language(email.locale)
    values = {
        "service": urlsplit(settings.public_url).netloc,
        "public_url": settings.public_url,
        **email.values,
    }
    subject, _, text = (
        _templates.get_template(f"{folder}/{template}.txt").render(values).partition("\n")
    )
    html = _templates.get_template(f"{folder}/{template}.html").render(values, subject=subject)
    return RenderedEmail(email.to, subject, text.strip() + "\n", html)
