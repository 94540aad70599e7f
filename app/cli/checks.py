"""What `doctor` looks at. Each check says what it found and, where that is not right, what to do. None of them changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.adapters import encryption, migrations
from app.adapters.cache import CacheUnavailable
from app.adapters.database import get_database_now, is_database_unavailable
from app.adapters.mailer import DeliveryError, Mailer
from app.api.health import MAX_CLOCK_SKEW
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
REDIS_ATTEMPTS = 3  # a tenth of a second is short for a machine that has just been woken up


class FindingLevel(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it."""

    level: FindingLevel
    found: str
    advice: str = ""


def fine(found: str) -> Finding:
    return Finding(FindingLevel.OK, found)


def warning(found: str, advice: str) -> Finding:
    return Finding(FindingLevel.WARN, found, advice)


def fault(found: str, advice: str) -> Finding:
    return Finding(FindingLevel.FAULT, found, advice)


def check_database(units: UnitOfWorkFactory) -> Finding:
    """Does it answer, and has it the schema of this version?"""
    kind = "SQLite" if units.settings.uses_sqlite else "PostgreSQL"
    if (
        units.settings.uses_sqlite
        and not Path(units.settings.database_url.removeprefix("sqlite:///")).exists()
    ):
        return fault(
            "the SQLite file does not exist",
            "check DOORWARD_DATABASE_URL, or make it by `python -m app db upgrade`",
        )
    try:
        with units.open_read_only() as work:
            found = migrations.find_current_revision(work.db.connection())
    except Exception as error:  # Whatever the library raises; only its being away is foreseen.
        if not is_database_unavailable(error):
            raise
        said = _first_line(getattr(error, "orig", None) or error)
        return fault(
            f"{kind} does not answer: {said}",
            "check DOORWARD_DATABASE_URL and that the server runs; without it nothing works",
        )
    if found != migrations.get_required_revision():
        return fault(
            f"{kind} answers; its schema is at {found or 'nothing'}, this version needs {migrations.get_required_revision()}",
            "run `python -m app db upgrade`, or start the version that the schema belongs to",
        )
    return fine(f"{kind} answers; its schema is at {found}, as this version needs")


def check_clock(units: UnitOfWorkFactory) -> Finding:
    """Do this machine and the database agree what time it is?"""
    if units.settings.uses_sqlite:
        return fine("SQLite has the time of this machine")
    with units.open_read_only() as work:
        skew = units.clock.get_skew(get_database_now(work.db))
    seconds = f"{skew.total_seconds():+.1f} s"
    if abs(skew) > MAX_CLOCK_SKEW:
        return fault(
            f"the database is {seconds} from this machine",
            "set both clocks by NTP; over 5 s /readyz answers 503, and tokens begin or end at the wrong time elsewhere",
        )
    return fine(f"the database is {seconds} from this machine")


def check_signing_keys(units: UnitOfWorkFactory) -> Finding:
    """Does a key sign, and does SECRET_KEY open all that are published?"""
    with units.open_read_only() as work:
        rows = list_signing_keys(work.db)
        published = [row for row in rows if get_key_state(row, rows, work.now) in PUBLISHED_STATES]
        return _evaluate_signing_keys(work, rows, published)


def _evaluate_signing_keys(
    work: UnitOfWork, rows: Sequence[SigningKey], published: Sequence[SigningKey]
) -> Finding:
    secret_key, signing = work.settings.secret_key, find_signer(rows, work.now)
    if closed := [row.kid for row in published if not _can_unseal(secret_key, row)]:
        return fault(
            f"DOORWARD_SECRET_KEY does not open {', '.join(closed)}",
            "put the secret it was made with behind the new one, separated by a comma; if that is lost, `python -m app keys revoke KID`",
        )
    if not rows:
        return fine("none yet; the first request makes one")
    if signing is None:
        return warning("none signs", "see `python -m app keys list`; the next request makes one")
    if any(
        not row.sealed_private.startswith(encryption.compute_key_id(secret_key[0]))
        for row in published
    ):
        return warning(
            f"{signing.kid} signs; some are encrypted under an older secret",
            "run `python -m app secrets rewrap`",
        )
    return fine(f"{signing.kid} signs, {len(published)} published")


def _can_unseal(secret_key: Sequence[str], row: SigningKey) -> bool:
    try:
        encryption.unseal(
            secret_key, encryption.KeyPurpose.SIGNING_KEYS, row.sealed_private, row.kid
        )
    except (encryption.UnsealError, ValueError):
        return False
    return True


def check_redis(units: UnitOfWorkFactory) -> Finding:
    """Does it answer in time, can it do what is asked of it, and what does it forget when it is full?"""
    if not units.cache.is_configured:
        return fine(
            "none is set: every check asks the database, and each process counts limits alone"
        )
    away = CacheUnavailable()
    for _ in range(REDIS_ATTEMPTS):
        try:
            return _evaluate_redis(units.cache.get_server_info())
        except CacheUnavailable as failed:
            away = failed
    cause = away.__cause__
    if type(cause).__name__ == "NoPermissionError":
        return warning(
            "answers, but INFO is forbidden, so version and eviction are not known",
            "allow INFO to the user of DOORWARD_REDIS_URL",
        )
    return fault(
        f"does not answer within a tenth of a second: {_first_line(cause)}",
        "check DOORWARD_REDIS_URL and that the server runs and is near; until then every check asks the database",
    )


def _evaluate_redis(facts: Mapping[str, object]) -> Finding:
    version = str(facts.get("redis_version", "0"))  # Valkey names the Redis it is compatible with
    name = f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {version}"
    policy = str(facts.get("maxmemory_policy", "unknown"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < MIN_REDIS_VERSION:
        return fault(f"{name} is too old", "use Redis 6.2 or later, or Valkey")
    if facts.get("role") != "master":
        return fault(
            f"{name} is a replica",
            "let DOORWARD_REDIS_URL name the primary: a replica takes no writes and tells old news",
        )
    if policy.startswith("allkeys"):
        return warning(
            f"{name} answers; its eviction policy is {policy}, so marks of what has ended may be dropped when it is full",
            "set maxmemory-policy to noeviction or volatile-ttl; until then what is gone is asked of the database, which is slower",
        )
    return fine(f"{name} answers; its eviction policy is {policy}")


def check_smtp(units: UnitOfWorkFactory) -> Finding:
    """Would the server take mail from us? None is sent."""
    url = units.settings.smtp_url
    if url is None:
        return fine("none is set: mail stays in the mailbox page of development")
    try:
        with Mailer(url) as mailer:
            encrypted = mailer.check_connection()
    except DeliveryError as error:
        return fault(
            f"the server cannot be talked to: {error}",
            "check DOORWARD_SMTP_URL: host, port, scheme, user and password; mail waits",
        )
    if not encrypted and units.settings.is_production:
        return warning(
            "the server answers without encryption",
            "use smtp+starttls:// or smtps://: mail carries links that open accounts",
        )
    return fine(
        "the server answers, encrypted" if encrypted else "the server answers, not encrypted"
    )


def check_public_url(settings: Settings) -> Finding:
    """Do links in mail lead here, and does the issuer?"""
    url = settings.public_url
    host = urlsplit(url).hostname or ""
    if host not in settings.allowed_hosts:
        return fault(
            f"{host} is not among DOORWARD_TRUSTED_HOSTS",
            "add it: links in mail are answered 400 until then",
        )
    if settings.is_production and host in LOOPBACK_HOSTS:
        return warning(
            f"{url} is reached from this machine alone",
            "set DOORWARD_PUBLIC_URL to the address that people use",
        )
    if settings.issuer != url:
        return warning(
            f"{url}, but the issuer is {settings.issuer}",
            "let that address lead here too: verifiers look for /.well-known under it",
        )
    return fine(url)


def check_proxies(settings: Settings) -> Finding:
    """Whose word counts for where a request comes from?"""
    trusted = settings.trusted_proxies
    if any(network.prefixlen == 0 for network in trusted):
        return fault(
            "everybody is trusted",
            "name only the networks of your gateways in DOORWARD_TRUSTED_PROXIES: anyone can forge an address now",
        )
    if trusted:
        return fine(", ".join(str(network) for network in trusted))
    if settings.is_production:
        return warning(
            "none is trusted, so all clients behind a gateway count as one and share its limits",
            "name the gateway's network in DOORWARD_TRUSTED_PROXIES; nothing is to do where clients connect directly",
        )
    return fine("none: every peer is the client itself")


def _first_line(error: BaseException | None) -> str:
    """The library's own words, which name host, port and user; the printer masks every password that is set."""
    lines = str(error).split("\n") if error is not None else []
    return " ".join(lines[0].split()) if lines and lines[0].strip() else type(error).__name__
