"""Requirements: conditions on the credential of a request, checked before its body is read.

A handler names one with `@require(…)` and receives the principal:

    @require(session)
    @require(admin & recent_authentication)
    @require(scoped("orders:read"))

The OpenAPI document describes each handler from its requirement.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from flask import request

from app.adapters import logs
from app.adapters.database import is_database_unavailable
from app.authorization.errors import InsufficientScope
from app.authorization.models import ADMIN
from app.authorization.rights import has_scope
from app.errors import Forbidden, Problem, Unauthenticated, Unavailable
from app.oauth.clients import authenticate_client
from app.oauth.errors import InvalidClient
from app.principal import CredentialKind, Principal
from app.rate_limits.count import count_request
from app.rate_limits.errors import TooManyRequests
from app.sessions.recent_authentication import (
    ReauthenticationRequired,
    require_recent_authentication,
)
from app.unit_of_work import UnitOfWork
from app.verification.credentials import CredentialType, PresentedCredential, principal_for
from app.web.auth.presented_credentials import (
    build_rejected_error,
    parse_client_or_key,
    parse_credential,
)
from app.web.auth.refresh_cookie import AmbiguousRefreshToken, CookieNotAllowed, find_refresh_token
from app.web.client_info import get_client_info
from app.web.json_body import read_json
from app.web.openapi.annotations import document_operation, document_problems

if TYPE_CHECKING:
    from app.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
Security = list[dict[str, list[str]]]  # OpenAPI: one of these alternatives

log = logs.get_logger("guard")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a principal that is already verified. `check` raises one of `problems`."""

    check: Callable[[UnitOfWork, Principal], None]
    problems: tuple[type[Problem], ...] = ()


@dataclass(frozen=True, slots=True)
class Requirement:
    """A way to obtain the principal of a request. `check` raises one of `problems`."""

    check: Callable[[UnitOfWork], Principal]
    security: Security
    problems: tuple[type[Problem], ...]

    def __and__(self, condition: Condition) -> Requirement:
        """Return a requirement that also checks the condition."""

        def check(work: UnitOfWork) -> Principal:
            principal = self.check(work)
            condition.check(work, principal)
            return principal

        return Requirement(check, self.security, self.problems + condition.problems)


def require(
    requirement: Requirement,
) -> Callable[
    [Callable[Concatenate[UnitOfWork, Principal, P], R]], Callable[Concatenate[UnitOfWork, P], R]
]:
    """Check the requirement before the handler runs, and pass the principal after the unit of work.

    The decorated handler has the requirement as its attribute `requirement`.
    """

    def decorate(
        handler: Callable[Concatenate[UnitOfWork, Principal, P], R],
    ) -> Callable[Concatenate[UnitOfWork, P], R]:
        @functools.wraps(handler)
        def guarded(work: UnitOfWork, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return handler(work, _run_check(requirement, work), *args, **kwargs)

        guarded.requirement = requirement  # type: ignore[attr-defined] # read by tests
        return document_operation(
            document_problems(*requirement.problems, Unavailable)(guarded),
            security=requirement.security,
        )

    return decorate


def _run_check(requirement: Requirement, work: UnitOfWork) -> Principal:
    try:
        return requirement.check(work)
    except Problem:
        raise
    except Exception as error:
        # A failed check says nothing about the credential. With a 401, clients would discard it.
        if is_database_unavailable(error):
            log.warning("credential check failed", fault=type(error).__name__)
        else:
            log.exception("credential check failed")
        raise Unavailable("The credential could not be checked. Try again shortly.") from error


def _verify_credential(work: UnitOfWork) -> Principal:
    presented = parse_credential(request)
    try:
        return principal_for(work, presented)
    except Unauthenticated:
        raise build_rejected_error(presented) from None


def _verify_session(work: UnitOfWork) -> Principal:
    principal = _verify_credential(work)
    if principal.kind is not CredentialKind.SESSION:
        raise Forbidden("API keys cannot do this. Log in and send an access token.")
    return principal


def _verify_session_or_refresh_token(
    work: UnitOfWork, find_token: Callable[[Settings], str | None]
) -> Principal:
    try:
        return _verify_session(work)
    except Unauthenticated as refusal:
        refresh_token = find_token(work.settings)
        if refresh_token is None:
            raise refusal from None
        count_request(work, get_client_info(), "refresh")
        presented = PresentedCredential(CredentialType.REFRESH_TOKEN, refresh_token)
        try:
            return principal_for(work, presented)
        except Unauthenticated:
            raise refusal from None


def _find_token_in_body() -> str | None:
    try:
        token = read_json(request).get("refresh_token")
    except Problem:
        return None
    return token if isinstance(token, str) else None


def _require_admin(_work: UnitOfWork, principal: Principal) -> None:
    if ADMIN not in principal.roles:
        raise Forbidden("Only an administrator can do this.")


def _require_scope(scope: str) -> Condition:
    def check(_work: UnitOfWork, principal: Principal) -> None:
        if not has_scope(scope, principal.scopes):
            raise InsufficientScope(scope)

    return Condition(check, (InsufficientScope,))


# A valid access token or API key.
credential = Requirement(
    _verify_credential,
    [{"bearer": []}, {"api_key": []}],
    (Unauthenticated, Forbidden, InsufficientScope, TooManyRequests),
)
# The access token of a live session.
session = Requirement(_verify_session, [{"bearer": []}], (Unauthenticated, Forbidden))
# The access token of a live session in which the account is an administrator.
admin = session & Condition(_require_admin)
# A password that was entered in this session within the last five minutes.
recent_authentication = Condition(
    lambda work, principal: require_recent_authentication(principal, work.now),
    (ReauthenticationRequired,),
)
# A live session, by its access token or, where that has expired, by the refresh token in the body.
session_or_refresh_token = Requirement(
    lambda work: _verify_session_or_refresh_token(work, lambda _: _find_token_in_body()),
    [{"bearer": []}, {}],
    (Unauthenticated, Forbidden),
)
# The same, with the refresh token in the body or in its cookie.
session_or_refresh_cookie = Requirement(
    lambda work: _verify_session_or_refresh_token(
        work, lambda settings: find_refresh_token(settings, _find_token_in_body())
    ),
    [{"bearer": []}, {}],
    (Unauthenticated, Forbidden, CookieNotAllowed, AmbiguousRefreshToken),
)
# An OAuth client that authenticates with its API key.
oauth_client = Requirement(
    lambda work: authenticate_client(work, get_client_info(), parse_client_or_key(request)),
    [{"client": []}, {}],
    (InvalidClient,),
)


def scoped(scope: str) -> Requirement:
    """Require a valid access token or API key that has the scope."""
    return credential & _require_scope(scope)


def client_with_scope(scope: str) -> Requirement:
    """Require an OAuth client whose API key has the scope."""
    return oauth_client & _require_scope(scope)
