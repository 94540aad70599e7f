"""Credential checks on the event loop: one round trip to Redis, no thread and no SQL.

This is the warm path of /authz, /v1/whoami and /oauth/introspect. The rules are those of
`app.verification`, and the responses are built by the functions that the routes use. Everything
else is deferred to the routes: a cold cache, faults of Redis, stale signing keys, unusual requests.

A check that gives the same entries for the same credential has the same result, so that result is
remembered beside the entries. Times are compared on every check.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from app.adapters.cache import CacheUnavailable
from app.adapters.rate_limiter import parse_windows
from app.adapters.redis_pipeline import pack_command
from app.api_keys.models import PREFIX
from app.authorization.rights import INTROSPECT, has_scope
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
from app.server.known_credentials import Entry, KnownKey, KnownToken, Verified, make_room
from app.verification.api_keys import (
    build_api_key_principal,
    build_api_key_token_principal,
    build_checked_key,
    require_valid,
    require_within_limits,
)
from app.verification.credentials import CredentialType, PresentedCredential, parse_token
from app.verification.session_tokens import (
    build_session_principal,
    decode_access_token,
    is_within_validity,
)
from app.web.auth.presented_credentials import build_rejected_error, parse_credential_headers

if TYPE_CHECKING:
    from datetime import datetime

    from app.adapters.jwt import Claims
    from app.adapters.redis_pipeline import RedisPipeline
    from app.unit_of_work import UnitOfWorkFactory

RECORD_USE_SHA = hashlib.sha1(RECORD_USE.text.encode(), usedforsecurity=False).hexdigest()


class Deferred(Exception):
    """The request must be answered by its route."""


class LoopChecks:
    """Verifies credentials with the shared state of the process. Use it from one event loop."""

    def __init__(self, units: UnitOfWorkFactory, redis: RedisPipeline) -> None:
        self._units, self._redis = units, redis
        self._settings, self._keys = units.settings, units.signing_keys
        self._limits = parse_windows(units.settings.limit_key)
        self._known_tokens: dict[bytes, KnownToken] = {}
        # The account of an API key never changes, so both entries can be read together.
        self._known_keys: dict[str, KnownKey] = {}

    async def verify(self, authorization: str | None, api_key: str | None) -> Verified:
        """Verify the credential in the headers Authorization and X-API-Key.

        Raises Deferred, and the problems of a credential.
        """
        clock = self._units.clock
        if not self._units.cache.is_trusted or self._keys.is_stale(clock.get_monotonic_time()):
            raise Deferred
        now = clock.now()
        if authorization is None or api_key is not None:
            return await self._verify_new(b"", authorization, api_key, now)
        digest = hashlib.sha256(authorization.encode("latin-1")).digest()
        known = self._find_known(digest)
        if known is None:
            return await self._verify_new(digest, authorization, None, now)
        try:
            return await self._verify_session(known, now)
        except Unauthenticated:
            raise build_rejected_error(known.presented) from None

    async def introspect(self, token: str, secret: str) -> Verified | None:
        """Verify an access token for a client with this API key. Returns None if it is invalid.

        The key is verified last, so that a deferred request counts once. Raises Deferred, also if
        the client may not introspect: its route answers that.
        """
        clock = self._units.clock
        if not self._units.cache.is_trusted or self._keys.is_stale(clock.get_monotonic_time()):
            raise Deferred
        now = clock.now()
        presented = parse_token(token)
        if presented.type is not CredentialType.ACCESS_TOKEN:
            raise Deferred
        try:
            verified = await self._verify_token(token, now)
        except Unauthenticated:
            verified = None
        try:
            client = await self._verify_api_key(secret, now)
        except Problem:
            raise Deferred from None
        if not has_scope(INTROSPECT, client.principal.scopes):
            raise Deferred
        return verified

    async def _verify_token(self, token: str, now: datetime) -> Verified:
        """Verify an access token by itself. Raises Deferred or Unauthenticated."""
        digest = hashlib.sha256(f"Bearer {token}".encode("latin-1", "replace")).digest()
        known = self._find_known(digest)
        if known is not None:
            return await self._verify_session(known, now)
        return await self._verify_new_token(digest, parse_token(token), now)

    def _find_known(self, digest: bytes) -> KnownToken | None:
        known = self._known_tokens.get(digest)
        return known if known is not None and known.generation is self._keys.generation else None

    async def _verify_new(
        self, digest: bytes, authorization: str | None, api_key: str | None, now: datetime
    ) -> Verified:
        """Verify a credential that is not known to be an access token of a session."""
        presented = parse_credential_headers(
            [] if authorization is None else [authorization], [] if api_key is None else [api_key]
        )
        try:
            if presented.type is CredentialType.API_KEY:
                return await self._verify_api_key(presented.secret, now)
            return await self._verify_new_token(digest, presented, now)
        except Unauthenticated:
            raise build_rejected_error(presented) from None

    async def _verify_new_token(
        self, digest: bytes, presented: PresentedCredential, now: datetime
    ) -> Verified:
        claims = decode_access_token(self._keys, self._settings, presented.secret, now)
        if is_id("key", claims["sid"]):
            return await self._verify_api_key_token(claims, now)
        return await self._verify_session(self._remember(digest, presented, claims), now)

    async def _verify_session(self, known: KnownToken, now: datetime) -> Verified:
        if not is_within_validity(known.claims, now):
            raise Unauthenticated
        ((account, session),) = await self._send(known.command)
        if (
            known.verified is not None
            and known.account == account
            and known.session == session
            and now.timestamp() < known.ends
        ):
            return known.verified
        return self._evaluate(known, account, session, now)

    def _remember(
        self, digest: bytes, presented: PresentedCredential, claims: Claims
    ) -> KnownToken:
        account_id = claims["sub"]
        command = pack_command(
            "MGET",
            build_account_cache_key(account_id),
            build_session_cache_key(account_id, claims["sid"]),
        )
        known = KnownToken(presented, claims, self._keys.generation, command)
        make_room(self._known_tokens)
        self._known_tokens[digest] = known
        return known

    def _evaluate(
        self, known: KnownToken, account: Entry, session: Entry, now: datetime
    ) -> Verified:
        """Evaluate entries that differ from the last ones."""
        cached = evaluate_entries(
            account,
            session,
            now=now,
            epoch=known.claims["ep"],
            global_epoch=self._keys.global_epoch,
        )
        known.verified = None
        if cached.verdict is Verdict.REVOKED:
            raise Unauthenticated
        if cached.verdict is Verdict.UNKNOWN:
            raise Deferred
        known.account, known.session, known.ends = account, session, cached.ends
        known.verified = Verified(build_session_principal(self._settings, known.claims, cached))
        return known.verified

    async def _verify_api_key(self, key: str, now: datetime) -> Verified:
        """Verify an API key and count its use."""
        key_id = parse_row_id(PREFIX, "key", key)
        if key_id is None:
            raise Unauthenticated
        digest = compute_digest(key)
        known = await self._find_key(key_id, now)
        keys, arguments = build_use_arguments(key_id, digest=digest, now=now, limits=self._limits)
        reply, account = await self._send(
            _pack_record_use(keys, arguments),
            pack_command("GET", build_account_cache_key(known.owner)),
        )
        use = parse_use(reply)
        if use.is_revoked:
            raise Unauthenticated
        if use.entry is None or use.entry.account_id != known.owner:
            raise Deferred
        require_valid(use.entry, digest, now)
        if known.verified is None or known.entry != reply[0] or known.account != account:
            checked = build_checked_key(use.entry, parse_account_entry(account))
            if checked is None:
                raise Deferred
            known.entry, known.account = reply[0], account
            known.verified = Verified(build_api_key_principal(self._settings, key_id, checked))
        require_within_limits(use, self._limits)
        self._units.api_key_usage.record(key_id, now)
        return known.verified

    async def _verify_api_key_token(self, claims: Claims, now: datetime) -> Verified:
        known = await self._find_key(claims["sid"], now)
        keys, arguments = build_use_arguments(claims["sid"], digest="", now=now, limits=())
        reply, account = await self._send(
            _pack_record_use(keys, arguments),
            pack_command("GET", build_account_cache_key(known.owner)),
        )
        use = parse_use(reply)
        if use.is_revoked:
            raise Unauthenticated
        if use.entry is None:
            raise Deferred
        require_valid(use.entry, None, now)
        checked = build_checked_key(use.entry, parse_account_entry(account))
        if checked is None:
            raise Deferred
        return Verified(build_api_key_token_principal(self._settings, claims, checked, now))

    async def _find_key(self, key_id: str, now: datetime) -> KnownKey:
        """Find the owner of a key without counting a use. Raises Deferred if no entry has it."""
        known = self._known_keys.get(key_id)
        if known is None:
            keys, arguments = build_use_arguments(key_id, digest="", now=now, limits=())
            (reply,) = await self._send(_pack_record_use(keys, arguments))
            entry = parse_use(reply).entry
            if entry is None:
                raise Deferred
            known = KnownKey(entry.account_id)
            make_room(self._known_keys)
            self._known_keys[key_id] = known
        return known

    async def _send(self, *commands: bytes) -> list[Any]:
        try:
            replies = await self._redis.send(*commands)
        except CacheUnavailable:
            raise Deferred from None
        for reply in replies:
            if isinstance(reply, Exception):
                raise Deferred
        return replies


def _pack_record_use(keys: list[str], arguments: list[str | int]) -> bytes:
    return pack_command("EVALSHA", RECORD_USE_SHA, str(len(keys)), *keys, *map(str, arguments))
