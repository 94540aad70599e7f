"""What a gateway asks for beside a valid credential: named in the path, kept in the settings, and never read from a query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import logs
from app.authorization.scopes import has_scope
from app.errors import Problem
from app.settings import NAME_PATTERN, GatewayPolicy

if TYPE_CHECKING:
    from app.principal import Principal
    from app.settings import Settings

DEFAULT = "default"
EMPTY_POLICY = GatewayPolicy()
RETRY_AFTER_SECONDS = 60  # seconds; it takes another setting

log = logs.get_logger("policies")


class UnknownPolicy(Problem):
    """The gateway asks by a policy that is not set. A fault of the configuration, so neither a yes nor the caller's fault."""

    code = "unknown_policy"
    title = "The gateway asks for a policy that does not exist"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "See DOORWARD_POLICIES, and the address that the gateway asks.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


def get_policy(settings: Settings, name: str) -> GatewayPolicy:
    """The policy of that name. Raises UnknownPolicy, and says so in the log."""
    found = settings.policies.get(name, EMPTY_POLICY if name == DEFAULT else None)
    if found is None:
        log.error(
            "unknown policy",
            policy=name if NAME_PATTERN.fullmatch(name) else "(no name of a policy)",
        )
        raise UnknownPolicy
    return found


def has_scopes(policy: GatewayPolicy, principal: Principal) -> bool:
    """Does the credential hold every scope that is asked for?"""
    return all(has_scope(scope, principal.scopes) for scope in policy.scopes)


def has_role(policy: GatewayPolicy, principal: Principal) -> bool:
    """Has the account one of the roles, where any is asked for? A key has none."""
    return not policy.roles or any(role in principal.roles for role in policy.roles)
