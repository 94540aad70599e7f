"""The refresh token in a cookie, for browser frontends whose scripts must not store it.

Only three routes read the cookie. Browsers attach it to cross-site requests too, so each use also
requires a custom header and an allowed Origin (ASVS 3.5.1 to 3.5.3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Response, request

from app.errors import InvalidInput, Problem, Unauthenticated
from app.sessions.errors import InvalidGrant
from app.web.answers import dump_json
from app.web.cookies import (
    build_clearing_cookie_header,
    clear_host_cookie,
    is_from_allowed_origin,
    list_cookie_values,
    set_host_cookie,
)
from app.web.openapi.annotations import document_header, document_operation, document_problems
from app.web.routes import allow_credentials

if TYPE_CHECKING:
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork
    from app.web.json_body import Body

F = TypeVar("F", bound=Callable[..., Any])

COOKIE_NAME = "doorward-refresh"
CUSTOM_HEADER = "X-Requested-With"

Parameters = list[dict[str, object]]
HEADER_PARAMETER: dict[str, object] = {
    "in": "header",
    "name": CUSTOM_HEADER,
    "schema": {"type": "string"},
    "description": "any value; required if the refresh token is in a cookie",
}
COOKIE_PARAMETER: dict[str, object] = {
    "in": "cookie",
    "name": f"__Host-{COOKIE_NAME}",
    "schema": {"type": "string"},
    "description": (
        "the refresh token, instead of the one in the body; "
        f"without TLS the cookie is named `{COOKIE_NAME}`"
    ),
}


class CookieNotAllowed(Problem):
    """The refresh token cookie was used without the custom header or from a foreign origin."""

    code = "cookie_not_allowed"
    title = "Refresh token cookie not allowed"
    status = 403


class AmbiguousRefreshToken(Problem):
    """The request has the cookie and another credential."""

    code = "ambiguous_refresh_token"
    title = "Ambiguous refresh token"
    status = 400

    def __init__(self) -> None:
        super().__init__(
            "Send it in the cookie or in the body, and no Authorization header with the cookie."
        )


def require_allowed_cookie_use(settings: Settings) -> None:
    """Raise CookieNotAllowed unless the request has the custom header and an allowed origin."""
    if not request.headers.get(CUSTOM_HEADER):
        raise CookieNotAllowed(f"Send the header {CUSTOM_HEADER} with any value.")
    if not is_from_allowed_origin(settings):
        raise CookieNotAllowed(
            "Call from DOORWARD_PUBLIC_URL, or from a same-site origin in DOORWARD_CORS_ORIGINS. "
            "From other origins, send the refresh token in the body."
        )


def find_refresh_token(settings: Settings, in_body: str | None) -> str | None:
    """Return the refresh token from the body or the cookie.

    Raises AmbiguousRefreshToken or CookieNotAllowed.
    """
    cookies = list_cookie_values(settings, COOKIE_NAME)
    if not cookies:
        return in_body
    if in_body is not None or len(cookies) > 1:
        raise AmbiguousRefreshToken
    require_allowed_cookie_use(settings)
    return cookies[0]


def set_refresh_cookie_on_request(handler: F) -> F:
    """Decorate a handler to move its refresh token to the cookie if `refresh_in_cookie` is set."""

    @functools.wraps(handler)
    def answer(work: UnitOfWork, body: Body) -> Response:
        in_cookie = body.pop("refresh_in_cookie")
        if in_cookie:
            require_allowed_cookie_use(work.settings)
        response: Response = handler(work, body)
        return _move_token_to_cookie(response, work.settings) if in_cookie else response

    return _document_cookie(answer, [HEADER_PARAMETER])  # type: ignore[return-value] # the wrapper has the handler's signature


def accept_refresh_cookie(handler: F) -> F:
    """Decorate a handler to take the refresh token from the cookie and return the next one there.

    The handler receives the token in the body in both cases.
    """

    @functools.wraps(handler)
    def answer(work: UnitOfWork, body: Body) -> Response:
        token = find_refresh_token(work.settings, body["refresh_token"])
        if token is None:
            raise InvalidInput(errors={"/refresh_token": ["Missing data for required field."]})
        if token == body["refresh_token"]:
            response: Response = handler(work, body)
            return response
        if "Authorization" in request.headers:
            raise AmbiguousRefreshToken
        try:
            response = handler(work, {**body, "refresh_token": token})
        except InvalidGrant as refusal:
            refusal.headers["Set-Cookie"] = build_clearing_cookie_header(work.settings, COOKIE_NAME)
            raise
        return _move_token_to_cookie(response, work.settings)

    return _document_cookie(
        document_problems(AmbiguousRefreshToken)(answer), [HEADER_PARAMETER, COOKIE_PARAMETER]
    )  # type: ignore[return-value] # as above


def clear_refresh_cookie(handler: F) -> F:
    """Decorate a logout handler to delete the cookie, also if its session was no longer live."""

    @functools.wraps(handler)
    def answer(work: UnitOfWork, *args: object, **kwargs: object) -> Response:
        try:
            response: Response = handler(work, *args, **kwargs)
        except Unauthenticated as refusal:
            if list_cookie_values(work.settings, COOKIE_NAME):
                refusal.headers["Set-Cookie"] = build_clearing_cookie_header(
                    work.settings, COOKIE_NAME
                )
            raise
        if list_cookie_values(work.settings, COOKIE_NAME):
            clear_host_cookie(response, work.settings, COOKIE_NAME)
        return response

    return document_operation(
        allow_credentials(answer), parameters=[HEADER_PARAMETER, COOKIE_PARAMETER]
    )  # type: ignore[return-value] # as above


def _move_token_to_cookie(response: Response, settings: Settings) -> Response:
    """Move the refresh token of a response from its body to the cookie."""
    tokens = response.get_json()
    token = tokens.pop("refresh_token")
    response.set_data(dump_json(tokens))
    set_host_cookie(response, settings, COOKIE_NAME, token, max_age=tokens["refresh_expires_in"])
    return response


def _document_cookie(handler: F, parameters: Parameters) -> F:
    noted = document_header(
        document_problems(CookieNotAllowed)(allow_credentials(handler)),
        200,
        "Set-Cookie",
        "the refresh token, if requested in a cookie",
    )
    return document_operation(noted, parameters=parameters)
