"""Is it alive, is it ready, which version is it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flask import Response, jsonify

from app.adapters import logs, migrations
from app.adapters.database import database_now, is_away
from app.errors import Problem
from app.revocation.issuer import keep_fresh
from app.settings import VERSION
from app.web.blueprint import Blueprint
from app.web.documented import answers
from app.web.work import units

if TYPE_CHECKING:
    from app.unit_of_work import Units

MOST_SKEW = timedelta(seconds=5)

log = logs.get_logger("health")
blp = Blueprint("health", __name__, description="Is it alive, is it ready, which version is it.")


class NotReady(Problem):
    """Something this process needs is missing; `checks` says what."""

    code = "not_ready"
    title = "Not ready to answer"
    status = 503

    def __init__(self, checks: dict[str, str]) -> None:
        super().__init__(headers={"Retry-After": "2"}, members={"checks": checks})


@blp.route("/livez", methods=["GET"])
def get_livez() -> Response:
    """Does the process answer? Asks nothing else."""
    return jsonify(status="alive")


@blp.route("/readyz", methods=["GET"])
@answers(NotReady)
def get_readyz() -> Response:
    """Can it serve: database, schema, clock and signing keys. Not any more once it has been asked to end."""
    here = units()
    if here.draining.is_set():
        raise NotReady({"draining": "yes"})
    checks = examined(here)
    if any(found != "ok" for found in checks.values()):
        raise NotReady(checks)
    return jsonify(status="ready", checks=checks)


@blp.route("/version", methods=["GET"])
def get_version() -> Response:
    """Which version this is."""
    return jsonify(name="doorward", version=VERSION)


def examined(here: Units) -> dict[str, str]:
    """Each thing this process needs, and "ok" or what is wrong with it in a word."""
    checks = dict.fromkeys(("database", "schema", "clock", "keys"), "unknown")
    try:
        with here.reading() as work:
            checks["database"] = "ok"
            found = migrations.current(work.db.connection())
            checks["schema"] = "ok" if found == migrations.needed() else "outdated"
            checks["clock"] = "ok" if abs(here.clock.skew(database_now(work.db))) <= MOST_SKEW else "skewed"
            if checks["schema"] == "ok":
                keep_fresh(work, ticks=here.clock.ticks())
                checks["keys"] = "ok"
    except Exception as error:
        # The probe is where every fault must become a word: an orchestrator acts on it, and the log has the rest.
        log.warning("not ready", fault=type(error).__name__, away=is_away(error))
        checks = {name: "failed" if found == "unknown" else found for name, found in checks.items()}
    return checks
