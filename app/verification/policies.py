"""Gateway policies: scopes and roles that a gateway requires beside a valid credential.

The request path names the policy; DOORWARD_POLICIES defines it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import logs
from app.authorization.rights import has_scope
from app.errors import Problem
from app.settings import NAME_PATTERN, GatewayPolicy

if TYPE_CHECKING:
    from app.principal import Principal
    from app.settings import Settings

DEFAULT = "default"
EMPTY_POLICY = GatewayPolicy()
RETRY_AFTER_SECONDS = 60  # the operator has to change a setting first

log = logs.get_logger("policies")


class UnknownPolicy(Problem):
    """The requested policy is not configured: an error of the operator, not of the caller."""

    code = "unknown_policy"
    title = "Unknown gateway policy"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "Check DOORWARD_POLICIES and the URL in the gateway's configuration.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


def get_policy(settings: Settings, name: str) -> GatewayPolicy:
    """Return the policy of that name. Logs and raises UnknownPolicy if there is none."""
    found = settings.policies.get(name, EMPTY_POLICY if name == DEFAULT else None)
    if found is None:
        log.error(
            "unknown policy", policy=name if NAME_PATTERN.fullmatch(name) else "(invalid name)"
        )
        raise UnknownPolicy
    return found


def has_scopes(policy: GatewayPolicy, principal: Principal) -> bool:
    """Return whether the principal has every scope that the policy requires."""
    return all(has_scope(scope, principal.scopes) for scope in policy.scopes)


def has_role(policy: GatewayPolicy, principal: Principal) -> bool:
    """Return whether the principal has one of the policy's roles. API keys have no roles."""
    return not policy.roles or any(role in principal.roles for role in policy.roles)
