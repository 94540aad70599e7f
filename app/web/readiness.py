"""Readiness: whether the database, its schema, the clock and the signing keys are usable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import logs, migrations
from app.adapters.clock import MAX_CLOCK_SKEW
from app.adapters.database import get_database_now, is_database_unavailable
from app.errors import Problem
from app.signing_keys.load import load_signing_keys

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWorkFactory

DRAINING = {"draining": "yes"}

log = logs.get_logger("health")


class NotReady(Problem):
    """A dependency of this process is missing; `checks` names it."""

    code = "not_ready"
    title = "Service not ready"
    status = 503

    def __init__(self, checks: dict[str, str]) -> None:
        super().__init__(headers={"Retry-After": "2"}, members={"checks": checks})


def require_readiness(units: UnitOfWorkFactory) -> dict[str, str]:
    """Return all checks. Raises NotReady if one fails or the process shuts down."""
    if units.draining.is_set():
        raise NotReady(DRAINING)
    checks = check_readiness(units)
    if any(found != "ok" for found in checks.values()):
        raise NotReady(checks)
    return checks


def check_readiness(units: UnitOfWorkFactory) -> dict[str, str]:
    """Return each dependency with "ok" or a word for what is wrong with it."""
    checks = dict.fromkeys(("database", "schema", "clock", "keys"), "unknown")
    try:
        with units.open_read_only() as work:
            connection = work.db.connection()
            checks["database"] = "ok"
            found = migrations.find_current_revision(connection)
            checks["schema"] = "ok" if found == migrations.get_required_revision() else "outdated"
            checks["clock"] = (
                "ok"
                if abs(units.clock.get_skew(get_database_now(work.db))) <= MAX_CLOCK_SKEW
                else "skewed"
            )
            if checks["schema"] == "ok":
                ticks = units.clock.get_monotonic_time()
                if work.signing_keys.is_stale(ticks):
                    load_signing_keys(work, ticks=ticks)
                checks["keys"] = "ok"
    except Exception as error:
        # The orchestrator needs an answer for every error; the log has the details.
        log.warning("not ready", fault=type(error).__name__, away=is_database_unavailable(error))
        checks = {name: "failed" if found == "unknown" else found for name, found in checks.items()}
    return checks
