"""Set and read the cookies of this service, and check which pages may use them.

A browser sends a cookie with requests from any site. A route that reads one therefore checks
Sec-Fetch-Site and Origin, which pages cannot set (OWASP Cross-Site Request Forgery Prevention).
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
    """Return the cookie's name.

    With TLS, the prefix `__Host-` binds it to this host (RFC 6265bis section 4.1.3.2).
    """
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
    """Set a cookie that scripts cannot read.

    `max_age` is in seconds; None lasts until the browser closes.
    """
    response.headers.add(
        "Set-Cookie",
        build_cookie_header(settings, bare_name, value, max_age=max_age, samesite=samesite),
    )


def clear_host_cookie(
    response: Response, settings: Settings, bare_name: str, *, samesite: SameSite = "Strict"
) -> None:
    """Delete the cookie in the browser."""
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
    """Build the value of a Set-Cookie header."""
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
    """Build the value of a Set-Cookie header that deletes the cookie."""
    return build_cookie_header(settings, bare_name, "", max_age=0, samesite=samesite)


def list_cookie_values(settings: Settings, bare_name: str) -> list[str]:
    """List the values of the cookie in the request; another page of this host may have set some."""
    return [
        value for value in request.cookies.getlist(get_cookie_name(settings, bare_name)) if value
    ]


def is_from_own_pages(settings: Settings) -> bool:
    """Return whether a page of this service sent the current request.

    Sec-Fetch-Site decides. Origin counts only if it is missing: forms of pages with Referrer-Policy
    no-referrer send Origin: null.
    """
    site = request.headers.get("Sec-Fetch-Site")
    return (
        site == "same-origin"
        if site is not None
        else request.headers.get("Origin") == get_own_origin(settings)
    )


def is_from_allowed_origin(settings: Settings) -> bool:
    """Return whether a same-site page of CORS_ORIGINS or of this service sent the request.

    From another site, browsers neither send nor store a SameSite cookie, so that is an error.
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
    """Return the origin of PUBLIC_URL as browsers write it."""
    parts = urlsplit(settings.public_url.lower())
    default = f":{DEFAULT_PORTS[parts.scheme]}"
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}"


def _is_tls(settings: Settings) -> bool:
    return settings.public_url.lower().startswith("https://")
