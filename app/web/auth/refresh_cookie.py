"""The refresh token in a cookie, for frontends in a browser whose scripts are to hold nothing that lasts.

Three routes know the cookie, and no other reads one. A browser sends it whoever asked for the request, so each use needs what no page
of another site can have sent: a header of the frontend's own, and an Origin that is allowed (ASVS 3.5.1 to 3.5.3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Response, request

from app.errors import InvalidInput, Problem, Unauthenticated
from app.sessions.errors import InvalidGrant
from app.web.cookies import (
    build_clearing_cookie_header,
    clear_host_cookie,
    is_from_allowed_origin,
    list_cookie_values,
    set_host_cookie,
)
from app.web.json_body import dump_json
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
    "description": "any text; needed where the refresh token's cookie is used",
}
COOKIE_PARAMETER: dict[str, object] = {
    "in": "cookie",
    "name": f"__Host-{COOKIE_NAME}",
    "schema": {"type": "string"},
    "description": f"the refresh token, instead of the one in the body; without TLS its name is `{COOKIE_NAME}`",
}


class CookieNotAllowed(Problem):
    """The refresh token's cookie, asked for or used by what may not be a page of the frontend's own. Nothing was changed."""

    code = "cookie_not_allowed"
    title = "The refresh token's cookie may not be used like this"
    status = 403


class AmbiguousRefreshToken(Problem):
    """A cookie, and another credential beside it: which one is meant?"""

    code = "ambiguous_refresh_token"
    title = "The refresh token came in more than one way"
    status = 400

    def __init__(self) -> None:
        super().__init__(
            "Send it in the cookie or in the body, and no Authorization header beside the cookie."
        )


def require_allowed_cookie_use(settings: Settings) -> None:
    """Raises CookieNotAllowed, which says what to do."""
    if not request.headers.get(CUSTOM_HEADER):
        raise CookieNotAllowed(
            f"Send the header {CUSTOM_HEADER} with any value: no form of another site can."
        )
    if not is_from_allowed_origin(settings):
        raise CookieNotAllowed(
            "Call from a page of an origin in DOORWARD_CORS_ORIGINS or of DOORWARD_PUBLIC_URL, on the same site as this service. "
            "Elsewhere use the refresh token in the body."
        )


def find_refresh_token(settings: Settings, in_body: str | None) -> str | None:
    """The refresh token, whichever way it came. Raises AmbiguousRefreshToken or CookieNotAllowed."""
    shown = list_cookie_values(settings, COOKIE_NAME)
    if not shown:
        return in_body
    if in_body is not None or len(shown) > 1:
        raise AmbiguousRefreshToken
    require_allowed_cookie_use(settings)
    return shown[0]


def set_refresh_cookie_on_request(handler: F) -> F:
    """Where the body asks for it (`refresh_in_cookie`), the refresh token in the answer goes into the cookie."""

    @functools.wraps(handler)
    def answer(work: UnitOfWork, body: Body) -> Response:
        asked = body.pop("refresh_in_cookie")
        if asked:
            require_allowed_cookie_use(work.settings)
        response: Response = handler(work, body)
        return _move_token_to_cookie(response, work.settings) if asked else response

    return _document_cookie(answer, [HEADER_PARAMETER])  # type: ignore[return-value] # the same handler to whoever decorates it further


def accept_refresh_cookie(handler: F) -> F:
    """The refresh token may come in the cookie; then the next one goes back there. The handler finds it in the body either way."""

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
    """The browser forgets a cookie that was sent, once the session is over; also when it counted for nothing any more."""

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
    """The answer with its refresh token in the cookie instead. It leaves only if what it tells of is committed."""
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
        "the refresh token, where it was asked for in a cookie",
    )
    return document_operation(noted, parameters=parameters)
