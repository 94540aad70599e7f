"""The unit of work: the current time, a transaction and shared services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.adapters.cache import Cache
    from app.adapters.clock import Clock
    from app.adapters.database import Database
    from app.adapters.jwt import SigningKeySet
    from app.adapters.password_hasher import PasswordHasher
    from app.adapters.rate_limiter import RateLimiter
    from app.adapters.usage_buffer import UsageBuffer
    from app.errors import Problem
    from app.settings import Settings

P = TypeVar("P", bound="Problem")


@dataclass(slots=True)
class UnitOfWork:
    """A transaction, committed as a whole or not at all. A new field needs a decision record."""

    now: datetime
    settings: Settings
    cache: Cache
    signing_keys: SigningKeySet
    hasher: PasswordHasher
    limiter: RateLimiter
    api_key_usage: UsageBuffer
    _begin: Callable[[], Session]
    _open_autocommit_session: Callable[[], Session]
    _db: Session | None = None
    _kept: Problem | None = None
    before_commit: list[Callable[[], object]] = field(default_factory=list)
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    @property
    def db(self) -> Session:
        """The transaction.

        It begins with the first query, so a request that Redis answers has none.
        """
        if self._db is None:
            self._db = self._begin()
        return self._db

    def commit_and_release(self) -> None:
        """Run the `before_commit` callbacks, commit, release the connection, run `after_commit`.

        Call this before waiting for a hash, Redis or another server. The next query begins a new
        transaction, so everything read before must be a condition of what is written after.
        """
        writes, self.before_commit = self.before_commit, []
        for write in writes:
            write()
        if self._db is not None and (self._db.in_transaction() or self._db.new):
            self._db.commit()
        callbacks, self.after_commit = self.after_commit, []
        for callback in callbacks:
            callback()

    def rollback_and_release(self) -> None:
        """Undo everything since the last commit and return the connection to the pool."""
        if self._db is not None:
            self._db.rollback()
        self.before_commit, self.after_commit = [], []

    def keep(self, problem: P) -> P:
        """Mark a problem that must not undo earlier writes: `raise work.keep(InvalidToken())`.

        The unit of work commits when exactly this problem leaves it. Every other exception rolls it
        back.
        """
        self._kept = problem
        return problem

    def is_kept(self, problem: BaseException) -> bool:
        return problem is self._kept

    def open_autocommit_session(self) -> AbstractContextManager[Session]:
        """Open a session outside the transaction, in which each statement commits by itself."""
        return self._open_autocommit_session()

    def close(self) -> None:
        """Roll back what was not committed and return the connection to the pool."""
        if self._db is not None:
            self._db.close()


@dataclass(frozen=True, slots=True)
class UnitOfWorkFactory:
    """Opens units of work; one for each process."""

    settings: Settings
    clock: Clock
    database: Database
    cache: Cache
    signing_keys: SigningKeySet
    hasher: PasswordHasher
    limiter: RateLimiter
    api_key_usage: UsageBuffer
    # Set while the process shuts down: /readyz fails, and background jobs start nothing new.
    draining: Event = field(default_factory=Event)

    def open_read_only(self) -> AbstractContextManager[UnitOfWork]:
        """Open a unit of work that cannot write."""
        return self._open(self.database.open_read_session)

    def open_read_write(self) -> AbstractContextManager[UnitOfWork]:
        """Open a unit of work that commits on success and on a problem marked by `keep`."""
        return self._open(self.database.open_write_session)

    @contextmanager
    def _open(self, begin: Callable[[], Session]) -> Iterator[UnitOfWork]:
        work = UnitOfWork(
            self.clock.now(),
            self.settings,
            self.cache,
            self.signing_keys,
            self.hasher,
            self.limiter,
            self.api_key_usage,
            begin,
            self.database.open_autocommit_session,
        )
        try:
            yield work
        except BaseException as error:
            if work.is_kept(error):
                work.commit_and_release()
            raise
        else:
            work.commit_and_release()
        finally:
            work.close()
