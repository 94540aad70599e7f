"""Settings of the service: name, type, default, meaning and parser of each.

A field `name` is the variable `DOORWARD_NAME`. The descriptions are what `config reference` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from app.settings import json_parsers, parsers
from app.settings.choices import (
    DocsMode,
    Environment,
    LogLevel,
    Network,
    OutboxMode,
    RegistrationMode,
)
from app.settings.json_parsers import ConfiguredClient, GatewayPolicy
from app.settings.metadata import DAY, REQUIRED, describe


@dataclass(frozen=True, kw_only=True)
class ServiceFields:
    """Fields of `Settings` about addresses, email, registration, access and logs."""

    secret_key: tuple[str, ...] = field(
        repr=False,
        metadata=describe(
            "Keys that encrypt and sign secrets: at least 32 random bytes each, newest first, "
            "separated by commas.",
            parsers.parse_secret_keys,
            default=REQUIRED,
            secret=True,
        ),
    )
    env: Environment = field(
        default=Environment.DEVELOPMENT,
        metadata=describe(
            "development or production. production rejects settings that are not safe.",
            parsers.build_choice_parser(Environment),
        ),
    )
    database_url: str = field(
        default=parsers.parse_database_url("sqlite:///var/doorward.db"),
        repr=False,
        metadata=describe(
            "URL of the database: postgresql://user:password@host/name, or sqlite:///path for a "
            "single process.",
            parsers.parse_database_url,
            default="sqlite:///var/doorward.db",
            secret=True,
        ),
    )
    redis_url: str | None = field(
        default=None,
        repr=False,
        metadata=describe(
            "URL of Redis or Valkey, which caches database results and counts rate limits for all "
            "processes: redis://, rediss:// or unix://. Without it every check queries the "
            "database, and each process counts on its own.",
            parsers.parse_redis_url,
            secret=True,
        ),
    )
    public_url: str = field(
        default="http://127.0.0.1:8080",
        metadata=describe(
            "URL at which users reach this service. Links in emails begin with it.",
            parsers.parse_url,
        ),
    )
    issuer: str = field(
        default="",
        metadata=describe("The `iss` of every token.", parsers.parse_url, default="PUBLIC_URL"),
    )
    audience: str = field(
        default="", metadata=describe("The `aud` of every access token.", str, default="ISSUER")
    )
    trusted_hosts: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            "Host names that requests may use. Requests with another Host header get a 400. In "
            "development loopback names are allowed too.",
            parsers.parse_hosts,
            default="the host of PUBLIC_URL",
        ),
    )
    trusted_proxies: tuple[Network, ...] = field(
        default=(),
        metadata=describe(
            "Networks (CIDR) of gateways whose X-Forwarded-For header is trusted. Every other peer "
            "counts as the client itself.",
            parsers.parse_networks,
        ),
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            "Origins whose pages may call this service from a browser.", parsers.parse_origins
        ),
    )
    smtp_url: str | None = field(
        default=None,
        repr=False,
        metadata=describe(
            "URL of the mail server: smtp:// (STARTTLS if offered), smtp+starttls:// (STARTTLS "
            "required) or smtps://. Without it emails are only shown at /dev/mailbox.",
            parsers.parse_smtp_url,
            secret=True,
        ),
    )
    mail_from: str = field(
        default="",
        metadata=describe(
            "Sender of every email: an email address, or Name <email address>.",
            parsers.parse_sender,
            default="Doorward <no-reply@host of PUBLIC_URL>",
        ),
    )
    outbox: OutboxMode = field(
        default=OutboxMode.INSIDE,
        metadata=describe(
            "inside: every serving process delivers emails. external: only `python -m app worker` "
            "does.",
            parsers.build_choice_parser(OutboxMode),
        ),
    )
    registration: RegistrationMode = field(
        default=RegistrationMode.OPEN,
        metadata=describe(
            "open: anyone can register. invite: only invited users can. closed: no one can.",
            parsers.build_choice_parser(RegistrationMode),
        ),
    )
    link_confirm: str = field(
        default="",
        metadata=describe(
            "Link that confirms an email address. It must contain {token}.",
            parsers.parse_link,
            default="PUBLIC_URL/confirm/{token}",
        ),
    )
    link_reset: str = field(
        default="",
        metadata=describe(
            "Link that resets a password. It must contain {token}.",
            parsers.parse_link,
            default="PUBLIC_URL/reset/{token}",
        ),
    )
    admin_self_reset: bool = field(
        default=False,
        metadata=describe(
            "true or false: whether administrators can reset their own password by email. "
            "Otherwise another administrator sends them the link.",
            parsers.parse_boolean,
        ),
    )
    notify_unknown: bool = field(
        default=False,
        metadata=describe(
            "true or false: whether an email address without an account is notified when someone "
            "requests a password reset for it.",
            parsers.parse_boolean,
        ),
    )
    resources: Mapping[str, str] = field(
        default_factory=dict,
        metadata=describe(
            "APIs that frontends can call: a JSON object of names and URLs, returned at login.",
            parsers.parse_resources,
        ),
    )
    roles: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict,
        metadata=describe(
            "Roles and their scopes: a JSON object of role names and lists of scopes. The role "
            "admin always exists and has the scopes of this service.",
            json_parsers.parse_roles,
        ),
    )
    policies: Mapping[str, GatewayPolicy] = field(
        default_factory=dict,
        metadata=describe(
            "Policies that a gateway can check: a JSON object of policies with scopes (all are "
            "required), roles (one is required) and audience. The policy default always exists; "
            "unless you define it, it requires only a valid credential.",
            json_parsers.parse_policies,
        ),
    )
    clients: Mapping[str, ConfiguredClient] = field(
        default_factory=dict,
        metadata=describe(
            "Clients that can start a device login: a JSON object of client IDs with name and "
            "scopes (the most that they get). The client doorward always exists; unless you define "
            "it, its scopes are not limited.",
            json_parsers.parse_clients,
        ),
    )
    privacy_levels: tuple[str, ...] = field(
        default=("public", "invitee", "member", "manager", "secret"),
        metadata=describe(
            "Membership levels, the lowest first. Every user has the lowest.",
            json_parsers.parse_levels,
        ),
    )
    managing_level: str = field(
        default="manager",
        metadata=describe(
            "Level from which a member can grant memberships, up to the member's own level.", str
        ),
    )
    erase_after: timedelta = field(
        default=timedelta(days=30),
        metadata=describe(
            "Seconds until a deleted account is erased. Until then it can be restored.",
            parsers.build_seconds_parser(0, 3650 * DAY),
        ),
    )
    docs: DocsMode | None = field(
        default=None,
        metadata=describe(
            "public or off: whether /docs and /openapi.json are served.",
            parsers.build_choice_parser(DocsMode),
            default="public in development, off in production",
        ),
    )
    log_level: LogLevel = field(
        default=LogLevel.INFO,
        metadata=describe(
            "Lowest level that is logged: debug (which includes messages of libraries), info, "
            "warning or error.",
            parsers.build_choice_parser(LogLevel),
        ),
    )
    sql_echo: bool = field(
        default=False,
        metadata=describe(
            "true or false: whether every SQL statement is logged, without its parameters.",
            parsers.parse_boolean,
        ),
    )
