"""`doctor`: check the settings and every server that the service depends on."""

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
from app.cli import checks
from app.cli.checks import Finding, FindingLevel
from app.cli.start import COMMAND_CAPACITY
from app.server.worker import CreateApp
from app.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWorkFactory

EXIT_FAULT = 1
TIMEOUT_SECONDS = 8.0  # for all checks together
MASK = "***"
# Masking a shorter password would change many words of a message and thereby reveal it.
MIN_SECRET_LENGTH = 4

Check = Callable[[], Finding]
Report = dict[str, Finding]

CHECK_NAMES = (
    "settings",
    "argon2",
    "database",
    "clock",
    "signing keys",
    "redis",
    "smtp",
    "public url",
    "proxies",
)
TIMED_OUT = Finding.fault(
    f"no answer within {TIMEOUT_SECONDS:.0f} seconds",
    "check that it can be reached from this machine",
)
SETTINGS_FIRST = Finding.warn("not checked", "fix the settings first")


@click.command()
@click.pass_obj
def doctor(create_app: CreateApp) -> None:
    """Check the settings and every server that the service depends on.

    Prints one line per check: ok, warn or FAULT, with advice. Changes nothing, sends no email and
    ends within 15 seconds. Exits with 1 if there is a fault.
    """
    logs.configure_logging(sys.stderr)
    try:
        settings = load_settings()
    except SettingsError as error:
        _print_invalid_settings(error)
        sys.exit(EXIT_FAULT)
    report = _run_checks(create_app, settings)
    for name in CHECK_NAMES:
        click.echo(_format_line(name, _mask_secrets(report[name], settings)))
    if any(finding.level is FindingLevel.FAULT for finding in report.values()):
        sys.exit(EXIT_FAULT)


def _print_invalid_settings(error: SettingsError) -> None:
    for fault in error.faults:
        finding = Finding.fault(fault, "see `python -m app config reference`")
        click.echo(_format_line("settings", finding))
    for name in CHECK_NAMES[1:]:
        click.echo(_format_line(name, SETTINGS_FIRST))


def _format_line(name: str, finding: Finding) -> str:
    line = f"{finding.level:<5}  {name:<12}  {finding.found}"
    return f"{line} -> {finding.advice}" if finding.advice else line


def _run_checks(create_app: CreateApp, settings: Settings) -> Report:
    """Run every check. A check without a result in time is a fault."""
    report = {"settings": Finding.ok(f"valid for {settings.env}"), "argon2": checks.check_argon2()}
    try:
        app = create_app(settings, capacity=COMMAND_CAPACITY)
    except Exception as error:
        # A library can reject a URL that passed the checks of the settings.
        report["settings"] = Finding.fault(
            f"the application cannot be built: {type(error).__name__}",
            "check the URLs in the settings",
        )
        return {name: report.get(name, SETTINGS_FIRST) for name in CHECK_NAMES}
    units: UnitOfWorkFactory = app.extensions["doorward"]
    groups: list[dict[str, Check]] = [
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
    _run_in_parallel(report, groups)
    return {name: report.get(name, TIMED_OUT) for name in CHECK_NAMES}


def _run_in_parallel(report: Report, groups: Sequence[dict[str, Check]]) -> None:
    """Run each group in a daemon thread, so that a check that hangs does not keep the process."""
    get_time = Clock().get_monotonic_time
    end = get_time() + TIMEOUT_SECONDS
    threads = [
        threading.Thread(target=_run_in_order, args=(report, group), daemon=True)
        for group in groups
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - get_time()))


def _run_in_order(report: Report, group: dict[str, Check]) -> None:
    """Run the checks of a group. If the first finds a fault, the others are skipped."""
    first = next(iter(group))
    for name, check in group.items():
        if name != first and report[first].level is FindingLevel.FAULT:
            report[name] = Finding.warn("not checked", f"fix the {first} first")
            continue
        try:
            report[name] = check()
        except Exception as error:  # The other checks must still run.
            report[name] = Finding.fault(
                f"the check failed: {type(error).__name__}", "please report this as a bug"
            )


def _mask_secrets(finding: Finding, settings: Settings) -> Finding:
    """Remove every configured secret, because messages of libraries can quote them."""
    found = finding.found
    for secret in sorted(_collect_secrets(settings), key=len, reverse=True):
        found = found.replace(secret, MASK)
    return replace(finding, found=found)


def _collect_secrets(settings: Settings) -> set[str]:
    secrets = set(settings.secret_key)
    for url in (settings.database_url, settings.redis_url, settings.smtp_url):
        password = urlsplit(url or "").password or ""
        secrets |= {password, unquote(password)}
    return {secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH}
