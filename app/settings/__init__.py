"""Typed settings, and the only place that reads the environment."""

from app.settings.model import (
    LOOPBACK,
    PREFIX,
    VERSION,
    Docs,
    Env,
    Network,
    Outbox,
    Registration,
    Settings,
    SettingsError,
    SigningAlgorithm,
    reference,
    shown,
)

__all__ = [
    "LOOPBACK",
    "PREFIX",
    "VERSION",
    "Docs",
    "Env",
    "Network",
    "Outbox",
    "Registration",
    "Settings",
    "SettingsError",
    "SigningAlgorithm",
    "reference",
    "shown",
]
