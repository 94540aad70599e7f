"""Checks of `doctor`. Each returns what it found and what to do about it. None changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.adapters import encryption, migrations
from app.adapters.argon2_build import OPTIMIZED, get_build
from app.adapters.cache import CacheUnavailable
from app.adapters.clock import MAX_CLOCK_SKEW
from app.adapters.database import get_database_now, is_database_unavailable
from app.adapters.mailer import DeliveryError, Mailer
from app.settings import LOOPBACK_HOSTS
from app.signing_keys.models import (
    PUBLISHED_STATES,
    SigningKey,
    find_signer,
    get_key_state,
    list_signing_keys,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.settings import Settings
    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

MIN_REDIS_VERSION = (6, 2)
REDIS_ATTEMPTS = 3  # the first request to an idle server can exceed the timeout of 0.1 s


class FindingLevel(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, and what to do about it."""

    level: FindingLevel
    found: str
    advice: str = ""

    @classmethod
    def ok(cls, found: str) -> Finding:
        return cls(FindingLevel.OK, found)

    @classmethod
    def warn(cls, found: str, advice: str) -> Finding:
        return cls(FindingLevel.WARN, found, advice)

    @classmethod
    def fault(cls, found: str, advice: str) -> Finding:
        return cls(FindingLevel.FAULT, found, advice)


def check_argon2() -> Finding:
    """Report which build of Argon2 this processor uses."""
    if get_build() == OPTIMIZED:
        return Finding.ok(f"built for {OPTIMIZED}")
    return Finding.ok("portable build; one for processors with AVX2 takes half the time")


def check_database(units: UnitOfWorkFactory) -> Finding:
    """Check that the database answers and that its schema matches this version."""
    kind = "SQLite" if units.settings.uses_sqlite else "PostgreSQL"
    path = Path(units.settings.database_url.removeprefix("sqlite:///"))
    if units.settings.uses_sqlite and not path.exists():
        return Finding.fault(
            "the SQLite file does not exist",
            "check DOORWARD_DATABASE_URL, or create the file with `python -m app db upgrade`",
        )
    try:
        with units.open_read_only() as work:
            current = migrations.find_current_revision(work.db.connection())
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        message = _get_first_line(getattr(error, "orig", None) or error)
        return Finding.fault(
            f"{kind} does not answer: {message}",
            "check DOORWARD_DATABASE_URL and that the server is running",
        )
    required = migrations.get_required_revision()
    if current != required:
        return Finding.fault(
            f"{kind} answers; the schema is at {current or 'nothing'}, but this version requires "
            f"{required}",
            "run `python -m app db upgrade`, or start the version that matches the schema",
        )
    return Finding.ok(f"{kind} answers; the schema is at {current}, as this version requires")


def check_clock(units: UnitOfWorkFactory) -> Finding:
    """Compare the clocks of this machine and of the database."""
    if units.settings.uses_sqlite:
        return Finding.ok("SQLite uses the clock of this machine")
    with units.open_read_only() as work:
        skew = units.clock.get_skew(get_database_now(work.db))
    found = f"the database clock differs by {skew.total_seconds():+.1f} s from this machine"
    if abs(skew) > MAX_CLOCK_SKEW:
        return Finding.fault(
            found,
            "synchronize both clocks with NTP; above 5 s /readyz answers 503 and other services "
            "see tokens start or expire at the wrong time",
        )
    return Finding.ok(found)


def check_signing_keys(units: UnitOfWorkFactory) -> Finding:
    """Check that a key signs, and that SECRET_KEY decrypts every published key."""
    with units.open_read_only() as work:
        rows = list_signing_keys(work.db)
        published = [row for row in rows if get_key_state(row, rows, work.now) in PUBLISHED_STATES]
        return _evaluate_signing_keys(work, rows, published)


def _evaluate_signing_keys(
    work: UnitOfWork, rows: Sequence[SigningKey], published: Sequence[SigningKey]
) -> Finding:
    secret_keys, signing = work.settings.secret_key, find_signer(rows, work.now)
    if locked := [row.kid for row in published if not _can_unseal(secret_keys, row)]:
        return Finding.fault(
            f"DOORWARD_SECRET_KEY does not decrypt {', '.join(locked)}",
            "append the secret key that encrypted it to DOORWARD_SECRET_KEY, after a comma; if it "
            "is lost, run `python -m app keys revoke KID`",
        )
    if not rows:
        return Finding.ok("none yet; the first request creates one")
    if signing is None:
        return Finding.warn(
            "no key signs", "see `python -m app keys list`; the next request creates one"
        )
    newest = encryption.compute_key_id(secret_keys[0])
    if any(not row.sealed_private.startswith(newest) for row in published):
        return Finding.warn(
            f"{signing.kid} signs; some keys are encrypted with an older secret key",
            "run `python -m app secrets rewrap`",
        )
    return Finding.ok(f"{signing.kid} signs, {len(published)} published")


def _can_unseal(secret_keys: Sequence[str], row: SigningKey) -> bool:
    purpose = encryption.KeyPurpose.SIGNING_KEYS
    try:
        encryption.unseal(secret_keys, purpose, row.sealed_private, row.kid)
    except (encryption.UnsealError, ValueError):
        return False
    return True


def check_redis(units: UnitOfWorkFactory) -> Finding:
    """Check latency, version, role and eviction policy of Redis."""
    if not units.cache.is_configured:
        return Finding.ok("not set; every check queries the database, limits count per process")
    unavailable = CacheUnavailable()
    for _ in range(REDIS_ATTEMPTS):
        try:
            return _evaluate_redis(units.cache.get_server_info())
        except CacheUnavailable as error:
            unavailable = error
    cause = unavailable.__cause__
    if type(cause).__name__ == "NoPermissionError":
        return Finding.warn(
            "answers, but INFO is forbidden, so version and eviction policy are unknown",
            "allow INFO for the user in DOORWARD_REDIS_URL",
        )
    return Finding.fault(
        f"does not answer within 0.1 seconds: {_get_first_line(cause)}",
        "check DOORWARD_REDIS_URL and that the server is running nearby; until then every check "
        "queries the database",
    )


def _evaluate_redis(info: Mapping[str, object]) -> Finding:
    version = str(info.get("redis_version", "0"))  # of Valkey, the compatible Redis version
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    policy = str(info.get("maxmemory_policy", "unknown"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < MIN_REDIS_VERSION:
        return Finding.fault(f"{name} is too old", "use Redis 6.2 or later, or Valkey")
    if info.get("role") != "master":
        return Finding.fault(
            f"{name} is a replica",
            "set DOORWARD_REDIS_URL to the primary; a replica rejects writes and lags behind",
        )
    if policy.startswith("allkeys"):
        return Finding.warn(
            f"{name} answers; with the eviction policy {policy} it can drop revocations when it "
            "is full",
            "set maxmemory-policy to noeviction or volatile-ttl; until then dropped entries are "
            "read from the database, which is slower",
        )
    return Finding.ok(f"{name} answers; the eviction policy is {policy}")


def check_smtp(units: UnitOfWorkFactory) -> Finding:
    """Check that the mail server accepts a connection. Sends no email."""
    url = units.settings.smtp_url
    if url is None:
        return Finding.ok("not set; emails are shown at /dev/mailbox")
    try:
        with Mailer(url) as mailer:
            is_encrypted = mailer.check_connection()
    except DeliveryError as error:
        return Finding.fault(
            f"the connection failed: {error}",
            "check host, port, scheme, user and password in DOORWARD_SMTP_URL; emails stay queued",
        )
    if is_encrypted:
        return Finding.ok("the server answers, encrypted")
    if units.settings.is_production:
        return Finding.warn(
            "the server answers without encryption",
            "use smtp+starttls:// or smtps://: emails contain links that give access to accounts",
        )
    return Finding.ok("the server answers, not encrypted")


def check_public_url(settings: Settings) -> Finding:
    """Check that links in emails and the issuer lead to this service."""
    url = settings.public_url
    host = urlsplit(url).hostname or ""
    if host not in settings.allowed_hosts:
        return Finding.fault(
            f"{host} is not in DOORWARD_TRUSTED_HOSTS",
            "add it; until then links in emails get a 400",
        )
    if settings.is_production and host in LOOPBACK_HOSTS:
        return Finding.warn(
            f"{url} is only reachable from this machine",
            "set DOORWARD_PUBLIC_URL to the URL that users open",
        )
    if settings.issuer != url:
        return Finding.warn(
            f"{url}, but the issuer is {settings.issuer}",
            "route the issuer URL to this service too; verifiers read /.well-known there",
        )
    return Finding.ok(url)


def check_proxies(settings: Settings) -> Finding:
    """Check which peers may set the IP address of a client."""
    trusted = settings.trusted_proxies
    if any(network.prefixlen == 0 for network in trusted):
        return Finding.fault(
            "every peer is trusted, so anyone can forge an IP address",
            "list only the networks of your gateways in DOORWARD_TRUSTED_PROXIES",
        )
    if trusted:
        return Finding.ok(", ".join(str(network) for network in trusted))
    if settings.is_production:
        return Finding.warn(
            "none is trusted, so all clients behind a gateway share one rate limit",
            "add the network of the gateway to DOORWARD_TRUSTED_PROXIES; ignore this if clients "
            "connect directly",
        )
    return Finding.ok("none; every peer is the client itself")


def _get_first_line(error: BaseException | None) -> str:
    """Return the first line of a library's message. `doctor` masks the passwords in it."""
    lines = str(error).split("\n") if error is not None else []
    return " ".join(lines[0].split()) if lines and lines[0].strip() else type(error).__name__
