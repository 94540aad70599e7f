"""`accounts`: bringing them along from another system."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from itertools import islice
from typing import IO, TYPE_CHECKING

import click

from app.adapters import logs
from app.adapters.database import UNAVAILABLE_ERRORS
from app.adapters.password_hasher import Capacity
from app.cli.db import DATABASE_UNAVAILABLE as DATABASE_AWAY
from app.cli.db import find_schema_problem
from app.cli.import_report import ImportProgress, ImportReport
from app.cli.json_lines import Unreadable, read_lines
from app.cli.start import (
    EXIT_REFUSED,
    EXIT_SCHEMA,
    EXIT_UNAVAILABLE,
    CreateApp,
    load_settings_or_exit,
)
from app.registration.import_accounts import import_accounts, preview_import
from app.registration.import_candidates import RejectedLine
from app.registration.import_dedup import SeenNames
from app.server.background_jobs import synchronize_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from app.registration.import_accounts import ImportResult, Numbered
    from app.unit_of_work import UnitOfWorkFactory
    from app.web.json_body import Body

BATCH = 500  # lines, each batch a transaction of its own
EXIT_UNREADABLE = 2
EXIT_INTERRUPTED = 130

Batch = list["tuple[int, Body] | RejectedLine"]


@click.group()
def accounts() -> None:
    """Accounts: bring them along from another system."""


@accounts.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Say what would be refused, and write nothing.")
@click.pass_obj
def accounts_import(create_app: CreateApp, file: IO[bytes], *, dry_run: bool) -> None:
    """Open an account for each line of FILE, with the password hash that another system made.

    FILE holds one JSON object a line; - is standard input. What a line holds, and which hashes are known, is told in
    docs/operating.md. A line that cannot be taken is refused with its reasons and the others go on. Running it again refuses what is
    there already and changes nothing. Exits with 0 when every line was taken, 1 when some were refused, 2 when FILE cannot be read.
    """
    logs.configure_logging(sys.stderr, level=logging.WARNING)
    units = _open_application(create_app)
    report, progress = ImportReport(), ImportProgress(file, units.clock.get_monotonic_time)
    fault, code = "", 0
    try:
        for outcome, unreadable in _process_batches(units, file, dry_run=dry_run):
            report.add(outcome, unreadable)
            progress.show(report)
    except Unreadable as error:
        fault, code = f"The file cannot be read any further: {error}.", EXIT_UNREADABLE
    except UNAVAILABLE_ERRORS:
        fault, code = (
            f"{DATABASE_AWAY} Then run this again: what was taken stays.",
            EXIT_UNAVAILABLE,
        )
    except KeyboardInterrupt:
        fault, code = "Interrupted. Run this again: what was taken stays.", EXIT_INTERRUPTED
    progress.end()
    report.print_totals(verb="would be taken" if dry_run else "taken")
    if fault:
        click.echo(fault, err=True)
    sys.exit(code or (EXIT_REFUSED if report.refused else 0))


def _open_application(create_app: CreateApp) -> UnitOfWorkFactory:
    settings = load_settings_or_exit()
    fault = find_schema_problem(settings)
    if fault:
        click.echo(fault, err=True)
        sys.exit(EXIT_SCHEMA)
    units: UnitOfWorkFactory = create_app(
        settings, capacity=Capacity(workers=1, threads=1)
    ).extensions["doorward"]
    synchronize_clock(units)
    return units


def _process_batches(
    units: UnitOfWorkFactory, file: IO[bytes], *, dry_run: bool
) -> Iterator[tuple[ImportResult, list[RejectedLine]]]:
    act = _examine_batch if dry_run else _import_batch
    with closing(SeenNames()) as seen:
        for batch in _split_into_batches(read_lines(file)):
            unreadable = [each for each in batch if isinstance(each, RejectedLine)]
            yield (
                act(units, [each for each in batch if not isinstance(each, RejectedLine)], seen),
                unreadable,
            )


def _import_batch(units: UnitOfWorkFactory, lines: Numbered, seen: SeenNames) -> ImportResult:
    with units.open_read_write() as work:
        return import_accounts(work, lines=lines, seen=seen)


def _examine_batch(units: UnitOfWorkFactory, lines: Numbered, seen: SeenNames) -> ImportResult:
    with units.open_read_only() as work:
        return preview_import(work, lines=lines, seen=seen)


def _split_into_batches(lines: Iterable[tuple[int, Body] | RejectedLine]) -> Iterator[Batch]:
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        yield batch
