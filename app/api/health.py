"""Liveness, readiness and version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import fields

from app.adapters import logs, migrations
from app.adapters.clock import MAX_CLOCK_SKEW
from app.adapters.database import get_database_now, is_database_unavailable
from app.errors import Problem
from app.settings import VERSION
from app.signing_keys.load import load_signing_keys
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.routes import accept_any_host
from app.web.schemas import StrictSchema
from app.web.unit_of_work import get_unit_of_work_factory

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWorkFactory


log = logs.get_logger("health")
blp = Blueprint("health", __name__, description="Liveness, readiness and version.")


class NotReady(Problem):
    """A dependency of this process is missing; `checks` names it."""

    code = "not_ready"
    title = "Service not ready"
    status = 503

    def __init__(self, checks: dict[str, str]) -> None:
        super().__init__(headers={"Retry-After": "2"}, members={"checks": checks})


class AliveSchema(StrictSchema):
    """The process is alive."""

    status = fields.Constant("alive", required=True)


class ReadySchema(StrictSchema):
    """The process is ready."""

    status = fields.Constant("ready", required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class VersionSchema(StrictSchema):
    """The running version."""

    name = fields.Constant("doorward", required=True)
    version = fields.String(required=True)


@blp.route("/livez", methods=["GET"])
@accept_any_host
@blp.response(200, AliveSchema)
def get_livez() -> dict[str, str]:
    """Check that the process responds. No dependency is checked."""
    return {}


@blp.route("/readyz", methods=["GET"])
@accept_any_host
@document_problems(NotReady)
@blp.response(200, ReadySchema)
def get_readyz() -> dict[str, object]:
    """Check database, schema, clock and signing keys. Fails while the process shuts down."""
    here = get_unit_of_work_factory()
    if here.draining.is_set():
        raise NotReady({"draining": "yes"})
    checks = check_readiness(here)
    if any(found != "ok" for found in checks.values()):
        raise NotReady(checks)
    return {"checks": checks}


@blp.route("/version", methods=["GET"])
@blp.response(200, VersionSchema)
def get_version() -> dict[str, str]:
    """Return the version of the service."""
    return {"version": VERSION}


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
