"""Import of accounts from another system. Their email addresses count as confirmed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import Account
from app.accounts.open_account import open_accounts
from app.adapters.statements import is_one_of
from app.audit.record import Event, record_event
from app.registration.import_candidates import (
    ImportCandidate,
    ImportFault,
    RejectedLine,
    parse_candidate,
)
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

NumberedLines = Sequence[tuple[int, Mapping[str, object]]]

USERNAME_TAKEN = ImportFault("username", "belongs to an existing account")
EMAIL_TAKEN = ImportFault("email", "belongs to an existing account")
USERNAME_RESERVED = ImportFault("username", "is reserved by a pending registration for up to a day")
TAKEN_CONCURRENTLY = ImportFault("username", "or email was taken during the import")
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The outcome of a batch of lines."""

    accepted: int
    rejected: tuple[RejectedLine, ...]


class SeenNames:
    """The line on which each name of a file first appeared.

    Digests are kept in a temporary file, so that memory does not grow with the imported file.
    """

    def __init__(self) -> None:
        # An empty name opens a database in a temporary file (sqlite.org/inmemorydb.html).
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(
            "CREATE TABLE seen (name BLOB PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")

    def find_line(self, kind: str, name: str) -> int | None:
        query = "SELECT line FROM seen WHERE name = ?"
        row = self._db.execute(query, (_compute_digest(kind, name),)).fetchone()
        return int(row[0]) if row else None

    def add(self, kind: str, name: str, line: int) -> None:
        self._db.execute("INSERT INTO seen VALUES (?, ?)", (_compute_digest(kind, name), line))

    def close(self) -> None:
        self._db.close()


def import_accounts(work: UnitOfWork, *, lines: NumberedLines, seen: SeenNames) -> ImportResult:
    """Open an account for every acceptable line and reject the others with all their reasons."""
    candidates, rejected = _select_importable(work, lines, seen)
    opened = open_accounts(work, [candidate.account for candidate in candidates])
    rejected += [
        RejectedLine(candidate.line, (TAKEN_CONCURRENTLY,))
        for candidate in candidates
        if candidate.account.username not in opened
    ]
    if opened:
        record_event(work, Event.ACCOUNTS_IMPORTED, accounts=len(opened))
    return ImportResult(len(opened), tuple(sorted(rejected, key=lambda each: each.line)))


def preview_import(work: UnitOfWork, *, lines: NumberedLines, seen: SeenNames) -> ImportResult:
    """Return the result that importing the lines would have now, without writing anything."""
    candidates, rejected = _select_importable(work, lines, seen)
    return ImportResult(len(candidates), tuple(rejected))


def _select_importable(
    work: UnitOfWork, lines: NumberedLines, seen: SeenNames
) -> tuple[list[ImportCandidate], list[RejectedLine]]:
    """Split the lines into valid ones whose names are free, and rejected ones."""
    convert_hash = work.hasher.import_hash
    parsed = [
        parse_candidate(line, body, now=work.now, convert_hash=convert_hash) for line, body in lines
    ]
    conflicts = _find_conflicts(
        work, [each for each in parsed if isinstance(each, ImportCandidate)]
    )
    candidates: list[ImportCandidate] = []
    rejected: list[RejectedLine] = []
    for each in parsed:
        if isinstance(each, RejectedLine):
            rejected.append(each)
        elif faults := _list_faults(each, conflicts, seen):
            rejected.append(RejectedLine(each.line, faults))
        else:
            seen.add("username", each.account.username, each.line)
            seen.add("email", each.account.email_canonical, each.line)
            candidates.append(each)
    return candidates, rejected


def _find_conflicts(
    work: UnitOfWork, candidates: Sequence[ImportCandidate]
) -> dict[ImportFault, set[str]]:
    """Return the usernames and email addresses that are not free, by the fault that says why."""
    usernames = [candidate.account.username for candidate in candidates]
    emails = [candidate.account.email_canonical for candidate in candidates]
    queries = {
        USERNAME_TAKEN: select(Account.username).where(
            is_one_of(work.db, Account.username, usernames)
        ),
        EMAIL_TAKEN: select(Account.email_canonical).where(
            is_one_of(work.db, Account.email_canonical, emails)
        ),
        USERNAME_RESERVED: select(PendingRegistration.username).where(
            is_one_of(work.db, PendingRegistration.username, usernames),
            PendingRegistration.expires_at > work.now,
        ),
    }
    return {fault: set(work.db.scalars(query)) for fault, query in queries.items()}


def _list_faults(
    candidate: ImportCandidate, conflicts: Mapping[ImportFault, set[str]], seen: SeenNames
) -> tuple[ImportFault, ...]:
    account = candidate.account
    found = []
    for field, name in (("username", account.username), ("email", account.email_canonical)):
        earlier = seen.find_line(field, name)
        if earlier is not None:
            found.append(ImportFault(field, "appears on an earlier line", f": {earlier}"))
        else:
            found += [
                fault
                for fault, taken in conflicts.items()
                if fault.field == field and name in taken
            ]
    return tuple(found)


def _compute_digest(kind: str, name: str) -> bytes:
    return hashlib.blake2b(f"{kind} {name}".encode(), digest_size=DIGEST_BYTES).digest()
