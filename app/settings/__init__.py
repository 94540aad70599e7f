"""Typed settings, and the only place that reads the environment."""

from app.settings.model import (
    ENV_PREFIX,
    LOOPBACK_HOSTS,
    VERSION,
    DocsMode,
    Environment,
    Network,
    OutboxMode,
    RegistrationMode,
    Settings,
    SettingsError,
    SigningAlgorithm,
    render_reference,
    render_settings,
)

__all__ = [
    "ENV_PREFIX",
    "LOOPBACK_HOSTS",
    "VERSION",
    "DocsMode",
    "Environment",
    "Network",
    "OutboxMode",
    "RegistrationMode",
    "Settings",
    "SettingsError",
    "SigningAlgorithm",
    "render_reference",
    "render_settings",
]
