"""Render emails as text and HTML in the language of the recipient.

Each email is one template with a subject and a body. The body is made of building blocks, such as
`paragraph`, that exist once for plain text and once for HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from app.i18n import install_translations, match_language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.notifications.mail.enqueue import Email
    from app.settings import Settings

BUILDING_BLOCKS = ("paragraph", "action_link", "code_block", "details", "bullets")


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """An email as its recipient reads it."""

    to: str
    subject: str
    text: str
    html: str

    @property
    def links(self) -> list[str]:
        return re.findall(r"https?://[^\s<>\"]+", self.text)


def render_email(settings: Settings, template: str, email: Email) -> RenderedEmail:
    values = {
        "lang": match_language(email.locale),
        "service": urlsplit(settings.public_url).netloc,
        "public_url": settings.public_url,
        **email.values,
    }
    subject = _render_block(_text, template, "subject", values)
    text = re.sub(r"\n{3,}", "\n\n", _render_block(_text, template, "body", values)).strip()
    body = Markup(_render_block(_html, template, "body", values))  # noqa: S704 # already escaped
    html = _html.get_template("layout.jinja").render(values, subject=subject, body=body)
    return RenderedEmail(email.to, subject, text + "\n", html)


def _render_block(
    environment: Environment, template: str, block: str, values: Mapping[str, str]
) -> str:
    found = environment.get_template(f"{template}.jinja")
    return "".join(found.blocks[block](found.new_context(dict(values))))


def _build_environment(part: str, *, autoescape: bool) -> Environment:
    """Build the environment of one part, with the building blocks of that part as globals."""
    environment = Environment(
        loader=PackageLoader("app.notifications.mail", "templates"),
        autoescape=autoescape,  # noqa: S701 # off for plain text only
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install_translations(environment)
    blocks = environment.get_template(f"{part}.jinja").module
    environment.globals.update({name: getattr(blocks, name) for name in BUILDING_BLOCKS})
    return environment


_text = _build_environment("text", autoescape=False)
_html = _build_environment("html", autoescape=True)
