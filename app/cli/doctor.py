"""`doctor`: is everything as it should be, and what to do where it is not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click

from app.adapters import logs
from app.adapters.clock import Clock
from app.adapters.password_hasher import Capacity
from app.cli import checks
from app.cli.checks import Finding, FindingLevel
from app.cli.start import CreateApp
from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWorkFactory

EXIT_FAULT = 1
TIMEOUT_SECONDS = 8.0  # seconds for all checks together
MASK = "***"
MIN_SECRET_LENGTH = 4  # characters

Check = Callable[[], Finding]
Report = dict[str, Finding]

CHECK_NAMES = (
    "settings",
    "database",
    "clock",
    "signing keys",
    "redis",
    "smtp",
    "public url",
    "proxies",
)
TIMED_OUT = Finding(
    FindingLevel.FAULT,
    f"no answer within {TIMEOUT_SECONDS:.0f} seconds",
    "see whether it can be reached from here",
)


@click.command()
@click.pass_obj
def doctor(create_app: CreateApp) -> None:
    """Look whether everything is as it should be, and say what to do where it is not.

    Prints one line for each thing that was looked at: ok, warn or FAULT. Changes nothing, sends no mail and ends within 15
    seconds. Exits with 1 when there is a fault.
    """
    logs.configure_logging(sys.stderr)
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        for what in error.faults:
            click.echo(
                format_line(
                    "settings",
                    Finding(FindingLevel.FAULT, what, "see `python -m app config reference`"),
                )
            )
        for name in CHECK_NAMES[1:]:
            click.echo(
                format_line(
                    name,
                    Finding(FindingLevel.WARN, "not looked at", "put the settings right first"),
                )
            )
        sys.exit(EXIT_FAULT)
    report = run_checks(create_app, settings)
    for name in CHECK_NAMES:
        click.echo(format_line(name, mask_secrets(report[name], settings)))
    if any(finding.level is FindingLevel.FAULT for finding in report.values()):
        sys.exit(EXIT_FAULT)


def format_line(name: str, finding: Finding) -> str:
    said = f"{finding.level:<5}  {name:<12}  {finding.found}"
    return f"{said} -> {finding.advice}" if finding.advice else said


def run_checks(create_app: CreateApp, settings: Settings) -> Report:
    """Every check, those that wait for others beside each other. What has not answered in time is a fault."""
    report = {"settings": checks.fine(f"all right, for {settings.env}")}
    try:
        units: UnitOfWorkFactory = create_app(
            settings, capacity=Capacity(workers=1, threads=1)
        ).extensions["doorward"]
    except Exception as error:  # An address that looks right and that a library cannot read.
        report["settings"] = checks.fault(
            f"the parts do not fit together: {type(error).__name__}",
            "check the addresses in the settings",
        )
        return {
            name: report.get(
                name, Finding(FindingLevel.WARN, "not looked at", "put the settings right first")
            )
            for name in CHECK_NAMES
        }
    rows: list[dict[str, Check]] = [
        {"public url": partial(checks.check_public_url, settings)},
        {"proxies": partial(checks.check_proxies, settings)},
        {
            "database": partial(checks.check_database, units),
            "clock": partial(checks.check_clock, units),
            "signing keys": partial(checks.check_signing_keys, units),
        },
        {"redis": partial(checks.check_redis, units)},
        {"smtp": partial(checks.check_smtp, units)},
    ]
    _run_in_parallel(report, rows)
    return {name: report.get(name, TIMED_OUT) for name in CHECK_NAMES}


def _run_in_parallel(report: Report, rows: Sequence[dict[str, Check]]) -> None:
    """Run the rows beside each other, for as long as there is patience. Daemons: what still hangs ends with the command."""
    ticks = Clock().get_monotonic_time
    end = ticks() + TIMEOUT_SECONDS
    threads = [
        threading.Thread(target=_run_in_order, args=(report, row), daemon=True) for row in rows
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - ticks()))


def _run_in_order(report: Report, row: dict[str, Check]) -> None:
    """What stands later in a row needs the first, and is not looked at without it."""
    first = next(iter(row))
    for name, check in row.items():
        if name != first and report[first].level is FindingLevel.FAULT:
            report[name] = Finding(
                FindingLevel.WARN, "not looked at", f"put the {first} right first"
            )
            continue
        try:
            report[name] = check()
        except Exception as error:  # One check that fails must not keep the others from being seen.
            report[name] = checks.fault(
                f"could not be looked at: {type(error).__name__}",
                "this is not foreseen; please report it",
            )


def mask_secrets(finding: Finding, settings: Settings) -> Finding:
    """The finding without any secret of the settings, whatever a library may have quoted."""
    found = finding.found
    for secret in sorted(_collect_secrets(settings), key=len, reverse=True):
        found = found.replace(secret, MASK)
    return replace(finding, found=found)


def _collect_secrets(settings: Settings) -> set[str]:
    """All that is worth the name: a password of three letters would mask half of every sentence, and so betray itself."""
    found = set(settings.secret_key)
    for url in (settings.database_url, settings.redis_url, settings.smtp_url):
        password = urlsplit(url or "").password or ""
        found |= {password, unquote(password)}
    return {secret for secret in found if len(secret) >= MIN_SECRET_LENGTH}
