"""Taking over accounts that another system had. The operator vouches for their addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import Account, AccountStatus
from app.adapters.database import insert_all_absent, is_one_of
from app.audit.record import Event, record_event
from app.opaque_tokens import generate_id
from app.registration.import_candidates import (
    ImportCandidate,
    ImportFault,
    RejectedLine,
    parse_candidate,
)
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from datetime import datetime

    from app.registration.import_dedup import SeenNames
    from app.unit_of_work import UnitOfWork

Numbered = Sequence[tuple[int, Mapping[str, object]]]

USERNAME_TAKEN = ImportFault("username", "belongs to an account already")
EMAIL_TAKEN = ImportFault("email", "belongs to an account already")
USERNAME_RESERVED = ImportFault(
    "username", "is kept for somebody who is registering; it is free again after a day"
)
TAKEN_CONCURRENTLY = ImportFault("username", "or the address was taken by somebody at this moment")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What came of some lines of a file."""

    accepted: int
    rejected: tuple[RejectedLine, ...]


def import_accounts(work: UnitOfWork, *, lines: Numbered, seen: SeenNames) -> ImportResult:
    """Open an account for every line that describes an acceptable one; the others are refused, each with its reasons."""
    free, refused = _select_importable(work, lines, seen)
    by_id = {generate_id("acc"): candidate for candidate in free}
    made = insert_all_absent(
        work.db,
        Account,
        [_build_row(account_id, candidate, work.now) for account_id, candidate in by_id.items()],
    )
    late = [
        RejectedLine(candidate.line, (TAKEN_CONCURRENTLY,))
        for account_id, candidate in by_id.items()
        if account_id not in made
    ]
    if made:
        record_event(work, Event.ACCOUNTS_IMPORTED, accounts=len(made))
    return ImportResult(len(made), tuple(sorted([*refused, *late], key=lambda each: each.line)))


def preview_import(work: UnitOfWork, *, lines: Numbered, seen: SeenNames) -> ImportResult:
    """What would come of importing the lines now. Writes nothing."""
    free, refused = _select_importable(work, lines, seen)
    return ImportResult(len(free), tuple(refused))


def _select_importable(
    work: UnitOfWork, lines: Numbered, seen: SeenNames
) -> tuple[list[ImportCandidate], list[RejectedLine]]:
    """Those that are acceptable and that nobody has, neither an account nor an earlier line; and the others."""
    read = [
        parse_candidate(line, body, now=work.now, convert_hash=work.hasher.import_hash)
        for line, body in lines
    ]
    held = _find_conflicts(
        work, [candidate for candidate in read if isinstance(candidate, ImportCandidate)]
    )
    free: list[ImportCandidate] = []
    refused: list[RejectedLine] = []
    for candidate in read:
        if isinstance(candidate, RejectedLine):
            refused.append(candidate)
        elif faults := _list_faults(candidate, held, seen):
            refused.append(RejectedLine(candidate.line, faults))
        else:
            seen.add("username", candidate.username, candidate.line)
            seen.add("email", candidate.email_canonical, candidate.line)
            free.append(candidate)
    return free, refused


def _find_conflicts(
    work: UnitOfWork, candidates: Sequence[ImportCandidate]
) -> dict[ImportFault, set[str]]:
    """Which of the names and addresses belong to somebody, and how."""
    usernames = [candidate.username for candidate in candidates]
    addresses = [candidate.email_canonical for candidate in candidates]
    queries = {
        USERNAME_TAKEN: select(Account.username).where(
            is_one_of(work.db, Account.username, usernames)
        ),
        EMAIL_TAKEN: select(Account.email_canonical).where(
            is_one_of(work.db, Account.email_canonical, addresses)
        ),
        USERNAME_RESERVED: select(PendingRegistration.username).where(
            is_one_of(work.db, PendingRegistration.username, usernames),
            PendingRegistration.expires_at > work.now,
        ),
    }
    return {fault: set(work.db.scalars(query)) for fault, query in queries.items()}


def _list_faults(
    candidate: ImportCandidate, held: Mapping[ImportFault, set[str]], seen: SeenNames
) -> tuple[ImportFault, ...]:
    found = []
    for field, name in (("username", candidate.username), ("email", candidate.email_canonical)):
        earlier = seen.find_line(field, name)
        if earlier is not None:
            found.append(ImportFault(field, "stands on an earlier line", f": {earlier}"))
        else:
            found += [
                fault for fault, names in held.items() if fault.field == field and name in names
            ]
    return tuple(found)


def _build_row(account_id: str, candidate: ImportCandidate, now: datetime) -> dict[str, object]:
    return {
        "id": account_id,
        "username": candidate.username,
        "email": candidate.email,
        "email_canonical": candidate.email_canonical,
        "name": candidate.name,
        "locale": candidate.locale,
        "timezone": candidate.timezone,
        "extra": dict(candidate.metadata),
        "password_hash": candidate.password_hash,
        "must_change_since": now if candidate.must_change_password else None,
        "status": AccountStatus.ACTIVE,
        "epoch": 1,
        "roles_version": 0,
        "created_at": candidate.created_at,
    }
