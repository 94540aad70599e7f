"""All that one request may touch: one `now`, one transaction, and the few things shared by every request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

from app.errors import Refusal

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.adapters.cache import Cache
    from app.adapters.clock import Clock
    from app.adapters.database import Database
    from app.adapters.jwt import KeyRing
    from app.adapters.password_hasher import PasswordHasher
    from app.adapters.rate_limiter import Limiter
    from app.adapters.usage_buffer import UsageBuffer
    from app.settings import Settings


@dataclass(slots=True)
class UnitOfWork:
    """One story, kept whole or not at all. A field more needs a written decision."""

    now: datetime
    settings: Settings
    cache: Cache
    keys: KeyRing
    hasher: PasswordHasher
    limiter: Limiter
    key_uses: UsageBuffer
    _begin: Callable[[], Session]
    _aside: Callable[[], Session]
    _db: Session | None = None
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    @property
    def db(self) -> Session:
        """The unit's transaction. It begins with the first query: a check that Redis answers never has one."""
        if self._db is None:
            self._db = self._begin()
        return self._db

    @contextmanager
    def released(self) -> Iterator[None]:
        """Hold nothing while waiting: what was done so far is committed and the connection given back.

        The next query begins anew, so whatever was read before must be a condition of what is written after.
        """
        self.keep()
        yield

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Hold nothing while waiting, and take back what was done since the last commit: the story begins anew after it."""
        if self._db is not None:
            self._db.rollback()
        self.after_commit = []
        yield

    def aside(self) -> AbstractContextManager[Session]:
        """A look at the database beside the transaction, on the small pool of the check; each statement stands alone."""
        return self._aside()

    def keep(self) -> None:
        """Commit, then do what was waiting for that."""
        if self._db is not None and (self._db.in_transaction() or self._db.new):
            self._db.commit()
        waiting, self.after_commit = self.after_commit, []
        for act in waiting:
            act()

    def close(self) -> None:
        """Roll back what was not kept, and give the connection back."""
        if self._db is not None:
            self._db.close()


@dataclass(frozen=True, slots=True)
class UnitOfWorkFactory:
    """Opens units of work. One for each process."""

    settings: Settings
    clock: Clock
    database: Database
    cache: Cache
    keys: KeyRing
    hasher: PasswordHasher
    limiter: Limiter
    key_uses: UsageBuffer
    # Set when this process has been asked to end: it says so where it is asked, answers what it has and begins nothing of its own.
    draining: Event = field(default_factory=Event)

    def reading(self) -> AbstractContextManager[UnitOfWork]:
        """A unit that cannot write."""
        return self._open(self.database.reading)

    def writing(self) -> AbstractContextManager[UnitOfWork]:
        """A unit that commits on success and on a Refusal, and rolls back on everything else."""
        return self._open(self.database.writing)

    @contextmanager
    def _open(self, session: Callable[[], Session]) -> Iterator[UnitOfWork]:
        now, aside = self.clock.now(), self.database.aside
        work = UnitOfWork(
            now,
            self.settings,
            self.cache,
            self.keys,
            self.hasher,
            self.limiter,
            self.key_uses,
            session,
            aside,
        )
        try:
            yield work
        except Refusal:
            work.keep()
            raise
        else:
            work.keep()
        finally:
            work.close()
