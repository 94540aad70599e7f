"""Settings: a typed model, its parsers, the environment that it is read from, and its reference."""

from app.settings.choices import (
    DocsMode,
    Environment,
    LogLevel,
    Network,
    OutboxMode,
    RegistrationMode,
    SigningAlgorithm,
)
from app.settings.environment import ENV_PREFIX, load_settings
from app.settings.json_parsers import NAME_PATTERN, ConfiguredClient, GatewayPolicy, is_scope
from app.settings.model import LOOPBACK_HOSTS, Settings, SettingsError
from app.settings.reference import render_reference, render_settings

VERSION = "0.1.0"

__all__ = [
    "ENV_PREFIX",
    "LOOPBACK_HOSTS",
    "NAME_PATTERN",
    "VERSION",
    "ConfiguredClient",
    "DocsMode",
    "Environment",
    "GatewayPolicy",
    "LogLevel",
    "Network",
    "OutboxMode",
    "RegistrationMode",
    "Settings",
    "SettingsError",
    "SigningAlgorithm",
    "is_scope",
    "load_settings",
    "render_reference",
    "render_settings",
]
