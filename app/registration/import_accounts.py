"""Taking over accounts that another system had. The operator vouches for their addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import Account, Status
from app.adapters.database import insert_absent, one_of
from app.audit.record import Event, record_event
from app.opaque_tokens import new_id
from app.registration.candidates import Candidate, Fault, Refused, read_candidate
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from datetime import datetime

    from app.registration.import_dedup import Seen
    from app.unit_of_work import UnitOfWork

Numbered = Sequence[tuple[int, Mapping[str, object]]]

HAS_USERNAME = Fault("username", "belongs to an account already")
HAS_ADDRESS = Fault("email", "belongs to an account already")
RESERVED = Fault(
    "username", "is kept for somebody who is registering; it is free again after a day"
)
TAKEN_NOW = Fault("username", "or the address was taken by somebody at this moment")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some lines of a file."""

    taken: int
    refused: tuple[Refused, ...]


def import_accounts(work: UnitOfWork, *, lines: Numbered, seen: Seen) -> Outcome:
    """Open an account for every line that describes an acceptable one; the others are refused, each with its reasons."""
    free, refused = _free(work, lines, seen)
    by_id = {new_id("acc"): candidate for candidate in free}
    made = insert_absent(
        work.db,
        Account,
        [_row(account_id, candidate, work.now) for account_id, candidate in by_id.items()],
    )
    late = [
        Refused(candidate.line, (TAKEN_NOW,))
        for account_id, candidate in by_id.items()
        if account_id not in made
    ]
    if made:
        record_event(work, Event.ACCOUNTS_IMPORTED, accounts=len(made))
    return Outcome(len(made), tuple(sorted([*refused, *late], key=lambda each: each.line)))


def examine_accounts(work: UnitOfWork, *, lines: Numbered, seen: Seen) -> Outcome:
    """What would come of importing the lines now. Writes nothing."""
    free, refused = _free(work, lines, seen)
    return Outcome(len(free), tuple(refused))


def _free(work: UnitOfWork, lines: Numbered, seen: Seen) -> tuple[list[Candidate], list[Refused]]:
    """Those that are acceptable and that nobody has, neither an account nor an earlier line; and the others."""
    read = [
        read_candidate(line, body, now=work.now, kept=work.hasher.brought_along)
        for line, body in lines
    ]
    held = _held(work, [candidate for candidate in read if isinstance(candidate, Candidate)])
    free: list[Candidate] = []
    refused: list[Refused] = []
    for candidate in read:
        if isinstance(candidate, Refused):
            refused.append(candidate)
        elif faults := _faults(candidate, held, seen):
            refused.append(Refused(candidate.line, faults))
        else:
            seen.add("username", candidate.username, candidate.line)
            seen.add("email", candidate.email_canonical, candidate.line)
            free.append(candidate)
    return free, refused


def _held(work: UnitOfWork, candidates: Sequence[Candidate]) -> dict[Fault, set[str]]:
    """Which of the names and addresses belong to somebody, and how."""
    usernames = [candidate.username for candidate in candidates]
    addresses = [candidate.email_canonical for candidate in candidates]
    queries = {
        HAS_USERNAME: select(Account.username).where(one_of(work.db, Account.username, usernames)),
        HAS_ADDRESS: select(Account.email_canonical).where(
            one_of(work.db, Account.email_canonical, addresses)
        ),
        RESERVED: select(PendingRegistration.username).where(
            one_of(work.db, PendingRegistration.username, usernames),
            PendingRegistration.expires_at > work.now,
        ),
    }
    return {fault: set(work.db.scalars(query)) for fault, query in queries.items()}


def _faults(candidate: Candidate, held: Mapping[Fault, set[str]], seen: Seen) -> tuple[Fault, ...]:
    found = []
    for field, name in (("username", candidate.username), ("email", candidate.email_canonical)):
        earlier = seen.line_of(field, name)
        if earlier is not None:
            found.append(Fault(field, "stands on an earlier line", f": {earlier}"))
        else:
            found += [
                fault for fault, names in held.items() if fault.field == field and name in names
            ]
    return tuple(found)


def _row(account_id: str, candidate: Candidate, now: datetime) -> dict[str, object]:
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
        "status": Status.ACTIVE,
        "epoch": 1,
        "roles_version": 0,
        "created_at": candidate.created_at,
    }
