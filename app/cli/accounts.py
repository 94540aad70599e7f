"""`accounts`: import accounts from another system."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from itertools import islice
from typing import IO, TYPE_CHECKING

import click

from app.adapters import logs
from app.adapters.database import UNAVAILABLE_ERRORS
from app.cli.db import DATABASE_UNAVAILABLE, require_current_schema
from app.cli.import_report import ImportProgress, ImportReport
from app.cli.json_lines import Unreadable, read_lines
from app.cli.start import EXIT_REFUSED, EXIT_UNAVAILABLE, load_settings_or_exit, open_application
from app.registration.import_accounts import SeenNames, import_accounts, preview_import
from app.registration.import_candidates import RejectedLine
from app.server.worker import CreateApp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from app.registration.import_accounts import ImportResult, NumberedLines
    from app.unit_of_work import UnitOfWorkFactory
    from app.web.json_body import Body

BATCH = 500  # lines per transaction
EXIT_UNREADABLE = 2
EXIT_INTERRUPTED = 130
RUN_AGAIN = "Run this command again: accounts that were imported stay."

Batch = list["tuple[int, Body] | RejectedLine"]


@click.group()
def accounts() -> None:
    """Import accounts from another system."""


@accounts.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Print what would be rejected and write nothing.")
@click.pass_obj
def accounts_import(create_app: CreateApp, file: IO[bytes], *, dry_run: bool) -> None:
    """Create an account for each line of FILE, with the password hash of another system.

    FILE contains one JSON object per line; - is standard input. docs/operating.md lists the fields
    and the supported hashes. Invalid lines are rejected with their reasons, and the others are
    imported. Running the command again rejects existing accounts and does not change them. Exits
    with 0 if every line was imported, 1 if lines were rejected, 2 if FILE cannot be read.
    """
    logs.configure_logging(sys.stderr, level=logging.WARNING)
    units = _open_application(create_app)
    report = ImportReport()
    progress = ImportProgress(file, units.clock.get_monotonic_time)
    problem, code = "", 0
    try:
        for result, unreadable in _process_batches(units, file, dry_run=dry_run):
            report.add(result, unreadable)
            progress.show(report)
    except Unreadable as error:
        problem, code = f"The rest of the file cannot be read: {error}.", EXIT_UNREADABLE
    except UNAVAILABLE_ERRORS:
        problem, code = f"{DATABASE_UNAVAILABLE} {RUN_AGAIN}", EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        problem, code = f"Interrupted. {RUN_AGAIN}", EXIT_INTERRUPTED
    progress.end()
    report.print_totals(verb="would be imported" if dry_run else "imported")
    if problem:
        click.echo(problem, err=True)
    sys.exit(code or (EXIT_REFUSED if report.rejected else 0))


def _open_application(create_app: CreateApp) -> UnitOfWorkFactory:
    settings = load_settings_or_exit(log_to=sys.stderr)
    logs.configure_logging(sys.stderr, level=logging.WARNING)
    require_current_schema(settings)
    return open_application(create_app, settings)


def _process_batches(
    units: UnitOfWorkFactory, file: IO[bytes], *, dry_run: bool
) -> Iterator[tuple[ImportResult, list[RejectedLine]]]:
    process = _preview_batch if dry_run else _import_batch
    with closing(SeenNames()) as seen:
        for batch in _split_into_batches(read_lines(file)):
            unreadable = [line for line in batch if isinstance(line, RejectedLine)]
            readable = [line for line in batch if not isinstance(line, RejectedLine)]
            yield process(units, readable, seen), unreadable


def _import_batch(units: UnitOfWorkFactory, lines: NumberedLines, seen: SeenNames) -> ImportResult:
    with units.open_read_write() as work:
        return import_accounts(work, lines=lines, seen=seen)


def _preview_batch(units: UnitOfWorkFactory, lines: NumberedLines, seen: SeenNames) -> ImportResult:
    with units.open_read_only() as work:
        return preview_import(work, lines=lines, seen=seen)


def _split_into_batches(lines: Iterable[tuple[int, Body] | RejectedLine]) -> Iterator[Batch]:
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        yield batch
