"""The settings model: derived values are filled in, and contradictions are rejected."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.settings.choices import DocsMode, Environment
from app.settings.fields import ServiceFields
from app.settings.security_fields import SecurityFields

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
# Memory in KiB and passes. The OWASP Password Storage Cheat Sheet lists them as equally strong.
MIN_ARGON2_COSTS = ((12288, 3), (19456, 2), (47104, 1))


class SettingsError(Exception):
    """Invalid settings. `faults` names each variable and what is wrong with it, never its value."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, kw_only=True)
class Settings(SecurityFields, ServiceFields):
    """The configuration of the service. Raises SettingsError if values contradict each other."""

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
        if faults := self._find_faults():
            raise SettingsError(faults)

    @property
    def is_production(self) -> bool:
        return self.env is Environment.PRODUCTION

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Host names that are served: TRUSTED_HOSTS, and in development loopback names."""
        loopback = () if self.is_production else LOOPBACK_HOSTS
        return frozenset(self.trusted_hosts).union(loopback)

    def _find_faults(self) -> list[str]:
        faults = []
        if self.uses_sqlite and self.replicas > 1:
            faults.append(
                "DOORWARD_DATABASE_URL: SQLite supports a single process; use PostgreSQL with "
                "DOORWARD_REPLICAS greater than 1"
            )
        if self.key_rotation < 3 * self.jwks_max_age:
            faults.append(
                "DOORWARD_KEY_ROTATION: must be at least three times DOORWARD_JWKS_MAX_AGE, so "
                "that verifiers learn about a key in time"
            )
        if self.managing_level not in self.privacy_levels:
            faults.append("DOORWARD_MANAGING_LEVEL: must be one of DOORWARD_PRIVACY_LEVELS")
        if any(self._looks_like_membership(role) for role in self.roles):
            faults.append(
                "DOORWARD_ROLES: must not contain a role with two dashes that ends with a level; "
                "memberships have such names"
            )
        return faults + (self._find_production_faults() if self.is_production else [])

    def _looks_like_membership(self, role: str) -> bool:
        """Check for `<resource>-<id>-<level>`: members would seem to have this role."""
        return role.count("-") > 1 and role.rpartition("-")[2] in self.privacy_levels

    def _find_production_faults(self) -> list[str]:
        faults = [
            f"DOORWARD_{name.upper()}: must begin with https:// in production"
            for name in ("public_url", "issuer", "link_confirm", "link_reset")
            if not getattr(self, name).startswith("https://")
        ]
        if self.smtp_url is None:
            faults.append("DOORWARD_SMTP_URL: is required in production")
        if not any(
            self.argon2_memory_kib >= memory and self.argon2_time_cost >= passes
            for memory, passes in MIN_ARGON2_COSTS
        ):
            faults.append(
                "DOORWARD_ARGON2_MEMORY_KIB, DOORWARD_ARGON2_TIME_COST: must be at least 19456 KiB "
                "and 2 passes in production"
            )
        if self.replicas > 1 and self.redis_url is None:
            faults.append(
                "DOORWARD_REDIS_URL: is required in production with DOORWARD_REPLICAS greater than "
                "1"
            )
        return faults
