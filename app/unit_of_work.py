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
    from app.adapters.jwt import SigningKeySet
    from app.adapters.password_hasher import PasswordHasher
    from app.adapters.rate_limiter import RateLimiter
    from app.adapters.usage_buffer import UsageBuffer
    from app.settings import Settings


@dataclass(slots=True)
class UnitOfWork:
    """One story, kept whole or not at all. A field more needs a written decision."""

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
    after_commit: list[Callable[[], None]] = field(default_factory=list)

    @property
    def db(self) -> Session:
        """The unit's transaction. It begins with the first query: a check that Redis answers never has one."""
        if self._db is None:
            self._db = self._begin()
        return self._db

    @contextmanager
    def commit_and_release(self) -> Iterator[None]:
        """Hold nothing while waiting: what was done so far is committed and the connection given back.

        The next query begins anew, so whatever was read before must be a condition of what is written after.
        """
        self.commit()
        yield

    @contextmanager
    def rollback_and_release(self) -> Iterator[None]:
        """Hold nothing while waiting, and take back what was done since the last commit: the story begins anew after it."""
        if self._db is not None:
            self._db.rollback()
        self.after_commit = []
        yield

    def open_autocommit_session(self) -> AbstractContextManager[Session]:
        """A look at the database beside the transaction, on the small pool of the check; each statement stands alone."""
        return self._open_autocommit_session()

    def commit(self) -> None:
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
    signing_keys: SigningKeySet
    hasher: PasswordHasher
    limiter: RateLimiter
    api_key_usage: UsageBuffer
    # Set when this process has been asked to end: it says so where it is asked, answers what it has and begins nothing of its own.
    draining: Event = field(default_factory=Event)

    def open_read_only(self) -> AbstractContextManager[UnitOfWork]:
        """A unit that cannot write."""
        return self._open(self.database.open_read_session)

    def open_read_write(self) -> AbstractContextManager[UnitOfWork]:
        """A unit that commits on success and on a Refusal, and rolls back on everything else."""
        return self._open(self.database.open_write_session)

    @contextmanager
    def _open(self, begin: Callable[[], Session]) -> Iterator[UnitOfWork]:
        now, aside = self.clock.now(), self.database.open_autocommit_session
        work = UnitOfWork(
            now,
            self.settings,
            self.cache,
            self.signing_keys,
            self.hasher,
            self.limiter,
            self.api_key_usage,
            begin,
            aside,
        )
        try:
            yield work
        except Refusal:
            work.commit()
            raise
        else:
            work.commit()
        finally:
            work.close()
