"""Settings: frozen, typed, and the only reader of the environment.

Each field of `Settings` is one variable `DOORWARD_<NAME>`, or `DOORWARD_<NAME>_FILE` with the path of a file that holds it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from environs import FileAwareEnv

from app.settings import json_parsers

VERSION = "0.1.0"
ENV_PREFIX = "DOORWARD_"
MIN_SECRET_KEY_BYTES = 32
REDIS_OPTIONS = {"db", "protocol", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
MIN_ARGON2_COSTS = (
    (12288, 3),
    (19456, 2),
    (47104, 1),
)  # KiB and passes; OWASP Password Storage lists them as equals.
# user:password@host:port/name?options, each part optional. A password with @ : / ? or # in it is to be percent-encoded.
POSTGRES_URL_PATTERN = (
    r"([^\s@/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s@:/?#\[\]]*)(:[0-9]{1,5})?(/[^\s/?#]*)?(\?\S*)?"
)
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
# Kubernetes injects these for a service called doorward; the others are read by the client, not by the service.
IGNORED_VARIABLES = re.compile(r"SERVICE_\w+|PORT|PORT_\w+|URL|USER|TOKEN|STORE")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """Everything that is wrong with the settings, by name and never by value."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class RegistrationMode(StrEnum):
    OPEN = "open"
    INVITE = "invite"
    CLOSED = "closed"


class SigningAlgorithm(StrEnum):
    ES256 = "ES256"
    EDDSA = "EdDSA"


class DocsMode(StrEnum):
    PUBLIC = "public"
    OFF = "off"


class OutboxMode(StrEnum):
    INSIDE = "inside"
    EXTERNAL = "external"


def _items(text: str) -> tuple[str, ...]:
    return tuple(item for item in (part.strip() for part in text.split(",")) if item)


def _database_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if (
        separator
        and scheme in {"postgres", "postgresql", "postgresql+psycopg"}
        and re.fullmatch(POSTGRES_URL_PATTERN, rest)
    ):
        return f"postgresql+psycopg://{rest}"
    if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return f"sqlite:////{Path(rest[1:]).absolute().as_posix().lstrip('/')}"
    raise ValueError(
        "must be postgresql://user:password@host:port/name, special characters percent-encoded, or sqlite:///path/of/a/file"
    )


def _parts(text: str) -> SplitResult:
    """The parts of an address that could be one: Python looks at the port only when asked for it, and never at spaces."""
    parts = urlsplit(text)
    if re.search(r"[\s\\]", text) or parts.port == 0:
        raise ValueError("must not hold spaces or backslashes, nor the port 0")
    return parts


def _url(text: str) -> str:
    parts = _parts(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("must be an http or https address without user, query and fragment")
    return text.rstrip("/")


def _smtp_url(text: str) -> str:
    parts = _parts(text)
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"smtp", "smtp+starttls", "smtps"} or not parts.hostname or rest:
        raise ValueError(
            "must be smtp://, smtp+starttls:// or smtps://, then user:password@ where needed, then host:port"
        )
    return text


def _redis_url(text: str) -> str:
    parts = _parts(text)
    if parts.scheme not in {"redis", "rediss", "unix"} or not (
        parts.hostname or (parts.scheme == "unix" and parts.path)
    ):
        raise ValueError(
            "must be redis://, rediss:// or unix://, then user:password@ where needed, then host:port/number or a path"
        )
    if (
        not set(parse_qs(parts.query)) <= REDIS_OPTIONS
    ):  # none that would change how long is waited, or how often is tried
        raise ValueError("must have no other options than " + ", ".join(sorted(REDIS_OPTIONS)))
    return text


def _sender(text: str) -> str:
    name, address = parseaddr(text)
    if (
        not re.fullmatch(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+", address)
        or not text.isprintable()
        or text not in {address, f"{name} <{address}>"}
    ):
        raise ValueError("must be an address, or Name <address>")
    return text


def _link(text: str) -> str:
    if text.count("{token}") != 1:
        raise ValueError("must hold {token} exactly once")
    _url(text.replace("{token}", "token"))
    return text


def _secret_keys(text: str) -> tuple[str, ...]:
    keys = _items(text)
    if not keys or any(
        len(key.encode()) < MIN_SECRET_KEY_BYTES or len(set(key)) < 8 for key in keys
    ):
        raise ValueError(
            f"must be {MIN_SECRET_KEY_BYTES} random bytes or more, e.g. from: openssl rand -base64 48"
        )
    return keys


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(item) for item in _items(text))


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(item.lower().strip("[]") for item in _items(text))
    if not hosts or any(re.search(r"[\s/*@]", host) for host in hosts):
        raise ValueError("must be names of hosts without port, separated by commas, at least one")
    return hosts


def _origins(text: str) -> tuple[str, ...]:
    origins = _items(text)
    for origin in origins:
        parts = urlsplit(origin)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or f"{parts.scheme}://{parts.netloc}" != origin
            or "*" in origin
        ):
            raise ValueError(
                "must be exact origins like https://app.example.com, separated by commas; no * and no path"
            )
    return origins


def _resources(text: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(url, str) for url in value.values()):
        raise ValueError(
            'must be a JSON object of names and addresses: {"api": "https://api.example.com"}'
        )
    return {name: _url(url) for name, url in value.items()}


def _limit(text: str) -> str:
    text = text.replace(" ", "")
    if not re.fullmatch(
        r"[1-9]\d{0,5}/(second|minute|hour|day)(;[1-9]\d{0,5}/(second|minute|hour|day))*", text
    ):
        raise ValueError("must look like 20/minute or 20/minute;300/hour")
    return text


def _seconds(least: int, most: int) -> Callable[[str], timedelta]:
    number = _number(least, most)
    return lambda text: timedelta(seconds=number(text))


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _yes_or_no(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def _choice(choices: type[StrEnum]) -> Callable[[str], StrEnum]:
    def parse(text: str) -> StrEnum:
        if text not in list(choices):
            raise ValueError("must be one of: " + ", ".join(choices))
        return choices(text)

    return parse


def _setting(
    explained: str,
    parse: Callable[[str], Any],
    default: Any = dataclasses.MISSING,
    *,
    shown: str = "",
    secret: bool = False,
) -> Any:
    metadata = {
        "explained": explained,
        "parse": parse,
        "secret": secret,
        "shown": shown or str(default),
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, repr=not secret, metadata=metadata)
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator decides. Raises SettingsError when the parts do not fit each other; a fault never shows a value."""

    secret_key: tuple[str, ...] = _setting(
        "Keys that everything secret is derived from: 32 random bytes or more each, newest first, separated by commas.",
        _secret_keys,
        shown="required",
        secret=True,
    )
    env: Environment = _setting(
        "development or production; production refuses what is not safe to serve.",
        _choice(Environment),
        Environment.DEVELOPMENT,
    )
    database_url: str = _setting(
        "Where everything is kept: postgresql://user:password@host/name, or sqlite:///path for one process.",
        _database_url,
        _database_url("sqlite:///var/doorward.db"),
        shown="sqlite:///var/doorward.db",
        secret=True,
    )
    redis_url: str | None = _setting(
        "Where answers of the database are remembered and limits counted for all processes together: redis://, rediss:// or unix://. "
        "Without it every check asks the database, and each process counts alone.",
        _redis_url,
        None,
        shown="none",
        secret=True,
    )
    public_url: str = _setting(
        "The address by which people reach this service; links in mail begin with it.",
        _url,
        "http://127.0.0.1:8080",
    )
    issuer: str = _setting("The `iss` of every token.", _url, "", shown="PUBLIC_URL")
    audience: str = _setting("The `aud` of every access token.", str, "", shown="ISSUER")
    trusted_hosts: tuple[str, ...] = _setting(
        "Names under which requests may arrive; any other Host is answered 400. Loopback names count too in development.",
        _hosts,
        (),
        shown="the host of PUBLIC_URL",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "Networks (CIDR) of the gateways whose X-Forwarded-For counts; every other peer is taken for the client itself.",
        _networks,
        (),
        shown="none",
    )
    cors_origins: tuple[str, ...] = _setting(
        "Origins whose pages may call this service from a browser.", _origins, (), shown="none"
    )
    smtp_url: str | None = _setting(
        "Where mail is handed over: smtp:// (STARTTLS when offered), smtp+starttls:// (STARTTLS or nothing) or smtps://. "
        "Without it mail stays in the mailbox page of development.",
        _smtp_url,
        None,
        shown="none",
        secret=True,
    )
    mail_from: str = _setting(
        "The sender of every mail: an address, or Name <address>.",
        _sender,
        "",
        shown="Doorward <no-reply@host of PUBLIC_URL>",
    )
    outbox: OutboxMode = _setting(
        "inside: each serving process delivers mail; external: only `python -m app worker` does.",
        _choice(OutboxMode),
        OutboxMode.INSIDE,
    )
    registration: RegistrationMode = _setting(
        "open: anyone may register; invite: only who was invited; closed: nobody.",
        _choice(RegistrationMode),
        RegistrationMode.OPEN,
    )
    link_confirm: str = _setting(
        "The link that confirms an address, with {token}.",
        _link,
        "",
        shown="PUBLIC_URL/confirm/{token}",
    )
    link_reset: str = _setting(
        "The link that lets another password be chosen, with {token}.",
        _link,
        "",
        shown="PUBLIC_URL/reset/{token}",
    )
    admin_self_reset: bool = _setting(
        "true or false: whether administrators who forgot their password get a link by mail; else another administrator sends it.",
        _yes_or_no,
        False,
        shown="false",
    )
    notify_unknown: bool = _setting(
        "true or false: whether an address without an account hears that somebody asked to reset its password.",
        _yes_or_no,
        False,
        shown="false",
    )
    resources: Mapping[str, str] = _setting(
        "What frontends may call: a JSON object of names and addresses, handed out at login.",
        _resources,
        {},
        shown="{}",
    )
    roles: Mapping[str, tuple[str, ...]] = _setting(
        "Roles and what they may do: a JSON object of roles and lists of scopes. The role admin is always there, with the scopes of this "
        "service.",
        json_parsers.parse_roles,
        {},
        shown="{}",
    )
    policies: Mapping[str, json_parsers.GatewayPolicy] = _setting(
        "What a gateway can ask for beside a valid credential: a JSON object of policies, each with scopes (all), roles (one) and "
        "audience. The policy default is always there and asks for nothing more, unless it is given here.",
        json_parsers.parse_policies,
        {},
        shown="{}",
    )
    clients: Mapping[str, json_parsers.ConfiguredClient] = _setting(
        "Programs that may ask to be let in from another device: a JSON object of client ids, each with name and scopes (at most these). "
        "The client doorward is always there, without a limit, unless it is given here.",
        json_parsers.parse_clients,
        {},
        shown="{}",
    )
    privacy_levels: tuple[str, ...] = _setting(
        "The ladder of memberships, the lowest level first; everybody has the lowest.",
        json_parsers.parse_levels,
        ("public", "invitee", "member", "manager", "secret"),
        shown="public,invitee,member,manager,secret",
    )
    managing_level: str = _setting(
        "The level from which a member may let others in, up to the own level.", str, "manager"
    )
    erase_after: timedelta = _setting(
        "How long a deleted account can be brought back, in seconds; then it is erased.",
        _seconds(0, 3650 * 86400),
        timedelta(days=30),
        shown="2592000",
    )
    docs: DocsMode | None = _setting(
        "public or off: whether /docs and /openapi.json answer.",
        _choice(DocsMode),
        None,
        shown="public in development, off in production",
    )
    password_min_length: int = _setting(
        "Least length of a password in characters.", _number(8, 64), 15
    )
    argon2_memory_kib: int = _setting(
        "Memory of one Argon2id hash in KiB.", _number(8, 1048576), 19456
    )
    argon2_time_cost: int = _setting("Passes of one Argon2id hash.", _number(1, 20), 2)
    access_token_ttl: timedelta = _setting(
        "Life of an access token in seconds, at most 900.",
        _seconds(30, 900),
        timedelta(seconds=300),
        shown="300",
    )
    session_max_ttl: timedelta = _setting(
        "Longest session that a login may ask for, in seconds, at most 365 days.",
        _seconds(3600, 365 * 86400),
        timedelta(days=30),
        shown="2592000",
    )
    jwks_max_age: timedelta = _setting(
        "How long verifiers may keep the public keys, in seconds.",
        _seconds(1, 86400),
        timedelta(seconds=300),
        shown="300",
    )
    signing_algorithm: SigningAlgorithm = _setting(
        "ES256 or EdDSA, for new signing keys.", _choice(SigningAlgorithm), SigningAlgorithm.ES256
    )
    key_rotation: timedelta = _setting(
        "How long a key signs before the next one does, in seconds.",
        _seconds(10, 366 * 86400),
        timedelta(days=30),
        shown="2592000",
    )
    replicas: int = _setting(
        "How many copies of this service run beside each other; local limits are divided by it.",
        _number(1, 1000),
        1,
    )
    limit_login: str = _setting(
        "Logins from one source (an IPv4 address or an IPv6 /64).", _limit, "20/minute;300/hour"
    )
    limit_register: str = _setting("Registrations from one source.", _limit, "10/hour")
    limit_resend: str = _setting(
        "Requests to send the confirmation again, from one source.", _limit, "10/hour"
    )
    limit_confirm: str = _setting("Confirmations by link from one source.", _limit, "30/minute")
    limit_code: str = _setting("Confirmations by code from one source.", _limit, "5/minute")
    limit_forgot: str = _setting(
        "Requests for a link to reset a password, from one source.", _limit, "10/hour"
    )
    limit_key: str = _setting(
        "Uses of one API key; what is done by a token that it was traded for is not counted.",
        _limit,
        "600/minute",
    )
    limit_device: str = _setting(
        "Requests to be let in from another device, from one source.", _limit, "20/minute;200/hour"
    )
    limit_poll: str = _setting(
        "Questions whether a request to be let in was approved, from one source.",
        _limit,
        "300/minute",
    )
    limit_refresh: str = _setting("Refreshes from one source.", _limit, "60/minute")

    def __post_init__(self) -> None:
        host = urlsplit(self.public_url).hostname or ""
        derived: dict[str, object] = {
            "issuer": self.issuer or self.public_url,
            "audience": self.audience or self.issuer or self.public_url,
            "trusted_hosts": self.trusted_hosts or (host,),
            "mail_from": self.mail_from or f"Doorward <no-reply@{host}>",
            "link_confirm": self.link_confirm or self.public_url + "/confirm/{token}",
            "link_reset": self.link_reset or self.public_url + "/reset/{token}",
            "docs": self.docs or (DocsMode.OFF if self.is_production else DocsMode.PUBLIC),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        if faults := self._faults():
            raise SettingsError(faults)

    @property
    def is_production(self) -> bool:
        return self.env is Environment.PRODUCTION

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Every Host that is answered."""
        return frozenset(self.trusted_hosts) | (
            frozenset() if self.is_production else frozenset(LOOPBACK_HOSTS)
        )

    def _faults(self) -> list[str]:
        faults = []
        if self.uses_sqlite and self.replicas > 1:
            faults.append(
                "DOORWARD_DATABASE_URL: SQLite serves one process; use PostgreSQL with DOORWARD_REPLICAS over 1"
            )
        if self.key_rotation < 3 * self.jwks_max_age:
            faults.append(
                "DOORWARD_KEY_ROTATION: must be at least three times DOORWARD_JWKS_MAX_AGE, for verifiers to hear of a key in time"
            )
        if self.managing_level not in self.privacy_levels:
            faults.append("DOORWARD_MANAGING_LEVEL: must be one of DOORWARD_PRIVACY_LEVELS")
        # <resource>-<id>-<level>: whoever is let in somewhere would seem to have that role.
        if any(
            role.count("-") > 1 and role.rpartition("-")[2] in self.privacy_levels
            for role in self.roles
        ):
            faults.append(
                "DOORWARD_ROLES: must not name a role with two dashes and a level at its end; memberships are called so"
            )
        return faults + (self._faults_of_production() if self.is_production else [])

    def _faults_of_production(self) -> list[str]:
        faults = []
        if not self.public_url.startswith("https://"):
            faults.append("DOORWARD_PUBLIC_URL: must begin with https:// in production")
        if not self.issuer.startswith("https://"):
            faults.append("DOORWARD_ISSUER: must begin with https:// in production")
        faults += [
            f"DOORWARD_{name.upper()}: must begin with https:// in production"
            for name in ("link_confirm", "link_reset")
            if not getattr(self, name).startswith("https://")
        ]
        if self.smtp_url is None:
            faults.append("DOORWARD_SMTP_URL: is required in production")
        if not any(
            self.argon2_memory_kib >= memory and self.argon2_time_cost >= passes
            for memory, passes in MIN_ARGON2_COSTS
        ):
            faults.append(
                "DOORWARD_ARGON2_MEMORY_KIB, DOORWARD_ARGON2_TIME_COST: below the floor of 19456 KiB and 2 passes in production"
            )
        if self.replicas > 1 and self.redis_url is None:
            faults.append(
                "DOORWARD_REDIS_URL: is required in production with DOORWARD_REPLICAS over 1"
            )
        return faults

    @classmethod
    def from_environment(cls, *, default_public_url: str | None = None) -> Settings:
        """Read every setting. Raises SettingsError that names all faults at once.

        `served_at` is the address that PUBLIC_URL means in development when it is not set.
        """
        values = _read(FileAwareEnv(prefix=ENV_PREFIX, strip_whitespace=True), os.environ)
        if (
            default_public_url
            and values.get("env", Environment.DEVELOPMENT) is Environment.DEVELOPMENT
        ):
            values.setdefault("public_url", default_public_url)
        return cls(**values)


def _read(env: FileAwareEnv, environ: Mapping[str, str]) -> dict[str, Any]:
    names = {field.name.upper(): field for field in dataclasses.fields(Settings)}
    faults: list[str] = [
        f"{name}: is not a setting of this version"
        for name in sorted(environ)
        if _unknown(name, names)
    ]
    values: dict[str, Any] = {}
    for name, field in names.items():
        try:
            text = _text(env, environ, name)
            if text is not None:
                values[field.name] = field.metadata["parse"](text)
            elif field.metadata["shown"] == "required":
                faults.append(f"{ENV_PREFIX}{name}: is required")
        except (ValueError, RecursionError) as error:
            faults.append(f"{ENV_PREFIX}{name}: {_without_value(error)}")
    if (
        environ.get("FLASK_DEBUG", "0") not in {"", "0"}
        and values.get("env") is Environment.PRODUCTION
    ):
        faults.append("FLASK_DEBUG: must not be set in production")
    if not faults:
        return values
    try:
        Settings(**{"secret_key": ("x" * MIN_SECRET_KEY_BYTES,), **values})
    except SettingsError as more:
        faults += more.faults
    raise SettingsError(faults)


def _unknown(name: str, names: Mapping[str, object]) -> bool:
    bare = name.removeprefix(ENV_PREFIX)
    return (
        bare != name
        and bare not in names
        and bare.removesuffix("_FILE") not in names
        and not IGNORED_VARIABLES.fullmatch(bare)
    )


def _text(env: FileAwareEnv, environ: Mapping[str, str], name: str) -> str | None:
    if environ.get(f"{ENV_PREFIX}{name}") and environ.get(f"{ENV_PREFIX}{name}_FILE"):
        raise ValueError(f"is set twice, here and by {ENV_PREFIX}{name}_FILE")
    text: str | None = env.str(name, None)
    return text.strip() or None if text is not None else None


def _without_value(error: Exception) -> str:
    """Our own words only: those of a library may quote the value."""
    return (
        str(error)
        if type(error) is ValueError and str(error).startswith(("must", "is ", "The value of"))
        else "cannot be read"
    )


def render_reference() -> str:
    """Every setting with its default and what it means, as `config reference` prints it and config/example.env begins."""
    lines = []
    for field in dataclasses.fields(Settings):
        lines += [
            f"# {field.metadata['explained']}",
            f"# Default: {field.metadata['shown']}",
            f"{ENV_PREFIX}{field.name.upper()}=",
            "",
        ]
    return "\n".join(lines)


def render_settings(settings: Settings) -> str:
    """The settings in force, one a line, secrets masked."""
    return "\n".join(
        f"{ENV_PREFIX}{field.name.upper()}={_shown(field, getattr(settings, field.name))}"
        for field in dataclasses.fields(settings)
    )


def _shown(field: dataclasses.Field[Any], value: Any) -> str:
    if value is None or value == ():
        return ""
    if field.metadata["secret"]:
        # Whatever stands before the host or behind the path may be a password; that of SQLite's file is a path alone.
        return (
            re.sub(r"://.*@|\?.*", lambda part: "?***" if part[0][0] == "?" else "://***@", value)
            if isinstance(value, str)
            else "***"
        )
    if isinstance(value, timedelta):
        return str(int(value.total_seconds()))
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return (
        json.dumps(value, default=dataclasses.asdict)
        if isinstance(value, (Mapping, bool))
        else str(value)
    )
