"""Cookies of this service: what they are called, what they carry with them, and from whose pages one may be used.

A cookie is sent by the browser whoever asked for the request, so a route that reads one asks first from where it was called:
browsers write Sec-Fetch-Site and Origin, and no page can (OWASP Cross-Site Request Forgery Prevention).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from flask import request
from werkzeug.http import dump_cookie

if TYPE_CHECKING:
    from flask import Response

    from app.settings import Settings

SameSite = Literal["Strict", "Lax"]

SAME_SITE = frozenset({"same-origin", "same-site"})
DEFAULT_PORTS = {"http": 80, "https": 443}


def get_cookie_name(settings: Settings, bare_name: str) -> str:
    """The cookie's name. With TLS its prefix binds it to this host alone: no sibling can plant one (RFC 6265bis section 4.1.3.2)."""
    return f"__Host-{bare_name}" if _is_tls(settings) else bare_name


def set_host_cookie(
    response: Response,
    settings: Settings,
    bare_name: str,
    value: str,
    *,
    max_age: int | None,
    samesite: SameSite = "Strict",
) -> None:
    """Put a cookie on the answer that no script can read. `max_age` in seconds; None is until the browser is closed."""
    response.headers.add(
        "Set-Cookie",
        build_cookie_header(settings, bare_name, value, max_age=max_age, samesite=samesite),
    )


def clear_host_cookie(
    response: Response, settings: Settings, bare_name: str, *, samesite: SameSite = "Strict"
) -> None:
    """Have the browser forget it."""
    response.headers.add(
        "Set-Cookie", build_clearing_cookie_header(settings, bare_name, samesite=samesite)
    )


def build_cookie_header(
    settings: Settings,
    bare_name: str,
    value: str,
    *,
    max_age: int | None,
    samesite: SameSite = "Strict",
) -> str:
    """The same as a Set-Cookie header, for an answer that is not made yet."""
    name = get_cookie_name(settings, bare_name)
    secure = _is_tls(settings)
    return dump_cookie(
        name,
        value,
        max_age=max_age,
        path="/",
        secure=secure,
        httponly=True,
        samesite=samesite,
        sync_expires=False,
    )


def build_clearing_cookie_header(
    settings: Settings, bare_name: str, *, samesite: SameSite = "Strict"
) -> str:
    """The same of one that is to be forgotten."""
    return build_cookie_header(settings, bare_name, "", max_age=0, samesite=samesite)


def list_cookie_values(settings: Settings, bare_name: str) -> list[str]:
    """The values of that cookie in the present request: none, one, or where somebody planted another, several."""
    return [
        value for value in request.cookies.getlist(get_cookie_name(settings, bare_name)) if value
    ]


def is_from_own_pages(settings: Settings) -> bool:
    """Was the present request made by a page of this service?

    What the browser says of the site decides. Origin is asked only of browsers that do not say it: on the form of a page whose
    Referrer-Policy is no-referrer it is null.
    """
    site = request.headers.get("Sec-Fetch-Site")
    return (
        site == "same-origin"
        if site is not None
        else request.headers.get("Origin") == get_own_origin(settings)
    )


def is_from_allowed_origin(settings: Settings) -> bool:
    """Was it made by a page of one of CORS_ORIGINS or of this service, within one site?

    From another site no browser would send the cookie, nor keep the one it is given: whoever asks there had better be told.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in SAME_SITE:
        return False
    return (
        site is not None
        if origin is None
        else origin in {get_own_origin(settings), *settings.cors_origins}
    )


def get_own_origin(settings: Settings) -> str:
    """The origin of PUBLIC_URL as a browser writes it."""
    parts = urlsplit(settings.public_url.lower())
    default = f":{DEFAULT_PORTS[parts.scheme]}"
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}"


def _is_tls(settings: Settings) -> bool:
    return settings.public_url.lower().startswith("https://")
