"""Gateway policies: scopes and roles that a gateway requires beside a valid credential.

The request path names the policy; DOORWARD_POLICIES defines it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import logs
from app.authorization.errors import InsufficientScope
from app.authorization.rights import has_scope
from app.errors import Forbidden, Problem
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


def require_policy(policy: GatewayPolicy, principal: Principal) -> None:
    """Raise InsufficientScope or Forbidden unless the principal satisfies the policy.

    It needs every scope and one of the roles. API keys have no roles.
    """
    if not all(has_scope(scope, principal.scopes) for scope in policy.scopes):
        raise InsufficientScope(" ".join(policy.scopes))
    if policy.roles and not any(role in principal.roles for role in policy.roles):
        raise Forbidden(
            "The account does not have a role that the policy requires. API keys have no roles."
        )
