"""Credential checks on the event loop: one round trip to Redis, no thread and no SQL.

This is the warm path of /authz, /v1/whoami and /oauth/introspect. The rules are those of
`app.verification`, and the responses are built by the functions that the routes use. Everything
else is deferred to the routes: a cold cache, faults of Redis, stale signing keys, unusual requests.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.adapters.cache import CacheUnavailable
from app.adapters.rate_limiter import parse_windows
from app.adapters.redis_pipeline import pack_command
from app.api_keys.models import PREFIX
from app.credential_status.api_key_cache import RECORD_USE, build_use_arguments, parse_use
from app.credential_status.session_cache import (
    Verdict,
    build_account_cache_key,
    build_session_cache_key,
    evaluate_entries,
    parse_account_entry,
)
from app.errors import Problem, Unauthenticated
from app.opaque_tokens import compute_digest, is_id, parse_row_id
from app.verification.api_keys import (
    CheckedKey,
    build_api_key_principal,
    build_api_key_token_principal,
    build_checked_key,
    require_valid,
    require_within_limits,
)
from app.verification.credentials import CredentialType, PresentedCredential
from app.verification.identity_headers import UnsafeHeaderValue, build_identity_headers
from app.verification.policies import require_policy
from app.verification.session_tokens import build_session_principal, decode_access_token
from app.web.answers import Answer, build_problem_answer, build_whoami_answer
from app.web.auth.presented_credentials import build_rejected_error, parse_credential_headers
from app.web.gateway_requests import INVALID_POLICY, add_gateway_headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from app.adapters.jwt import Claims
    from app.adapters.redis_pipeline import RedisPipeline
    from app.credential_status.api_key_cache import ApiKeyUse
    from app.principal import Principal
    from app.unit_of_work import UnitOfWorkFactory

MAX_KNOWN_OWNERS = 8192
RECORD_USE_SHA = hashlib.sha1(RECORD_USE.text.encode(), usedforsecurity=False).hexdigest()


class Deferred(Exception):
    """The request must be answered by its route."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A request to check. Repeated headers are joined by commas, as in WSGI."""

    headers: Mapping[str, str]
    request_id: str

    def parse_credential(self) -> PresentedCredential:
        """Return the one credential of the request. Raises Unauthenticated."""
        return parse_credential_headers(
            [self.headers[name] for name in ("authorization",) if name in self.headers],
            [self.headers[name] for name in ("x-api-key",) if name in self.headers],
        )


class LoopChecks:
    """Checks credentials with the shared state of the process."""

    def __init__(self, units: UnitOfWorkFactory, redis: RedisPipeline) -> None:
        self._units, self._redis = units, redis
        self._settings = units.settings
        self._limits = parse_windows(units.settings.limit_key)
        # The account of an API key never changes, so its entry can be read with that of the key.
        self._owners: dict[str, str] = {}

    async def check_gateway_request(self, request: CheckRequest, policy: str) -> Answer:
        """Answer a gateway. Raises Deferred."""
        required = self._settings.policies.get(policy)
        if policy == INVALID_POLICY or (required is None and policy != "default"):
            raise Deferred
        try:
            principal = await self._verify(request)
            if required is not None:
                require_policy(required, principal)
            headers = build_identity_headers(
                self._settings,
                self._units.signing_keys,
                principal,
                self._units.clock.now(),
                policy=policy,
            )
            answer = Answer(HTTPStatus.OK, headers)
        except UnsafeHeaderValue:
            raise Deferred from None
        except Problem as problem:
            answer = build_problem_answer(problem, request.request_id)
        add_gateway_headers(answer.headers, answer.code)
        return answer

    async def check_whoami(self, request: CheckRequest) -> Answer:
        """Answer GET /v1/whoami. Raises Deferred."""
        try:
            return build_whoami_answer(await self._verify(request))
        except Problem as problem:
            return build_problem_answer(problem, request.request_id)

    async def _verify(self, request: CheckRequest) -> Principal:
        """Return the principal of the request. Raises Deferred and the problems of a credential."""
        if not self._units.cache.is_trusted or self._units.signing_keys.is_stale(
            self._units.clock.get_monotonic_time()
        ):
            raise Deferred
        presented, now = request.parse_credential(), self._units.clock.now()
        try:
            if presented.type is CredentialType.API_KEY:
                return await self.verify_api_key(presented.secret, now)
            return await self.verify_access_token(presented.secret, now)
        except Unauthenticated:
            raise build_rejected_error(presented) from None

    async def verify_access_token(self, token: str, now: datetime) -> Principal:
        """Return the principal of an access token. Raises Deferred or Unauthenticated."""
        claims = decode_access_token(self._units.signing_keys, self._settings, token, now)
        session_id, account_id = claims["sid"], claims["sub"]
        if is_id("key", session_id):
            return await self._verify_api_key_token(claims, now)
        keys = build_account_cache_key(account_id), build_session_cache_key(account_id, session_id)
        ((account, session),) = await self._send(pack_command("MGET", *keys))
        cached = evaluate_entries(
            account,
            session,
            now=now,
            epoch=claims["ep"],
            global_epoch=self._units.signing_keys.global_epoch,
        )
        if cached.verdict is Verdict.REVOKED:
            raise Unauthenticated
        if cached.verdict is Verdict.UNKNOWN:
            raise Deferred
        return build_session_principal(self._settings, claims, cached)

    async def verify_api_key(self, key: str, now: datetime) -> Principal:
        """Return the principal of an API key and count the use.

        Raises Deferred, Unauthenticated or TooManyRequests.
        """
        key_id = parse_row_id(PREFIX, "key", key)
        if key_id is None:
            raise Unauthenticated
        digest = compute_digest(key)
        use, checked = await self._use_api_key(key_id, digest, now, counts=True)
        require_within_limits(use, self._limits)
        self._units.api_key_usage.record(key_id, now)
        return build_api_key_principal(self._settings, key_id, checked)

    async def _verify_api_key_token(self, claims: Claims, now: datetime) -> Principal:
        _, checked = await self._use_api_key(claims["sid"], None, now, counts=False)
        return build_api_key_token_principal(self._settings, claims, checked, now)

    async def _use_api_key(
        self, key_id: str, digest: str | None, now: datetime, *, counts: bool
    ) -> tuple[ApiKeyUse, CheckedKey]:
        """Read a key and its account in one round trip, once the owner of the key is known."""
        owner = self._owners.get(key_id)
        if owner is None:
            # Does not count: the route counts the use of a key that is not in the cache.
            owner = await self._find_owner(key_id, now)
        keys, arguments = build_use_arguments(
            key_id, digest=digest or "", now=now, limits=self._limits if counts else ()
        )
        numbers = [str(argument) for argument in arguments]
        reply, account = await self._send(
            pack_command("EVALSHA", RECORD_USE_SHA, str(len(keys)), *keys, *numbers),
            pack_command("GET", build_account_cache_key(owner)),
        )
        use = parse_use(reply)
        if use.is_revoked:
            raise Unauthenticated
        if use.entry is None or use.entry.account_id != owner:
            raise Deferred
        require_valid(use.entry, digest, now)
        checked = build_checked_key(use.entry, parse_account_entry(account))
        if checked is None:
            raise Deferred
        return use, checked

    async def _find_owner(self, key_id: str, now: datetime) -> str:
        keys, arguments = build_use_arguments(key_id, digest="", now=now, limits=())
        numbers = [str(argument) for argument in arguments]
        (reply,) = await self._send(
            pack_command("EVALSHA", RECORD_USE_SHA, str(len(keys)), *keys, *numbers)
        )
        entry = parse_use(reply).entry
        if entry is None:
            raise Deferred
        if len(self._owners) >= MAX_KNOWN_OWNERS:
            self._owners.clear()
        self._owners[key_id] = entry.account_id
        return entry.account_id

    async def _send(self, *commands: bytes) -> list[Any]:
        try:
            replies = await self._redis.send(*commands)
        except CacheUnavailable:
            raise Deferred from None
        if any(isinstance(reply, Exception) for reply in replies):
            raise Deferred
        return replies
