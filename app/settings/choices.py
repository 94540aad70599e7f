"""Values that a setting can choose from."""

from __future__ import annotations

import ipaddress
from enum import StrEnum

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
