"""Redis on the event loop: one connection, on which the commands of many requests travel together.

Commands that are sent in one turn of the loop leave in one write. `cache.py` is the same Redis for
threads. Whatever fails here is repeated there, so this connection has no retries.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import hiredis
from redis.connection import SSLConnection, parse_url

from app.adapters import logs
from app.adapters.cache import SOCKET_TIMEOUT_SECONDS, CacheUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

RECONNECT_SECONDS = 1.0  # between two attempts
CONNECT_SECONDS = 1.0
DEFAULT_PORT = 6379

log = logs.get_logger("cache")

Reply = Any


@dataclass(slots=True)
class _Pending:
    """Commands whose replies are awaited together."""

    future: asyncio.Future[list[Reply]]
    missing: int
    sent_at: float
    replies: list[Reply] = field(default_factory=list)


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader()
        self._pending: deque[_Pending] = deque()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._is_watched = False
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._receive(reply)
        except hiredis.ProtocolError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_open = False
        pending, self._pending = self._pending, deque()
        for each in pending:
            if not each.future.done():
                each.future.set_exception(CacheUnavailable())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, commands: Sequence[bytes]) -> asyncio.Future[list[Reply]]:
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        now = self._loop.time()
        self._pending.append(_Pending(future, len(commands), now))
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.extend(commands)
        if not self._is_watched:
            self._is_watched = True
            self._loop.call_at(now + SOCKET_TIMEOUT_SECONDS, self._close_if_overdue)
        return future

    def _receive(self, reply: Reply) -> None:
        first = self._pending[0]
        first.replies.append(reply)
        first.missing -= 1
        if not first.missing:
            self._pending.popleft()
            if not first.future.done():
                first.future.set_result(first.replies)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _close_if_overdue(self) -> None:
        """Close the connection when the oldest command has had its time. One timer serves all."""
        self._is_watched = False
        if not self._pending:
            return
        due = self._pending[0].sent_at + SOCKET_TIMEOUT_SECONDS
        if self._loop.time() >= due:
            self.close()
            return
        self._is_watched = True
        self._loop.call_at(due, self._close_if_overdue)


class RedisPipeline:
    """The connection of a process. Use it from one event loop only."""

    def __init__(self, url: str) -> None:
        self._options = parse_url(url)  # type: ignore[no-untyped-call] # redis-py is partly untyped
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._next_attempt = 0.0

    def send(self, *commands: bytes) -> asyncio.Future[list[Reply]]:
        """Send packed commands. Returns a future of their replies, which may be error values.

        Raises CacheUnavailable at once while there is no connection, and in the future if it is
        lost.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            self._reconnect()
            raise CacheUnavailable
        return connection.send(commands)

    def _reconnect(self) -> None:
        loop = asyncio.get_running_loop()
        if self._connecting is None and loop.time() >= self._next_attempt:
            self._next_attempt = loop.time() + RECONNECT_SECONDS
            self._connecting = loop.create_task(self._connect(loop))

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        connection = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._open(loop)
                for reply in await connection.send(self._build_greeting()):
                    if isinstance(reply, Exception):
                        raise reply
            self._connection = connection
        except (OSError, TimeoutError, CacheUnavailable, hiredis.ReplyError) as error:
            log.warning("cache connection failed", fault=type(error).__name__)
            if connection is not None:
                connection.close()
        finally:
            self._connecting = None

    async def _open(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        options = self._options
        if "path" in options:
            _, connection = await loop.create_unix_connection(
                lambda: _Connection(loop), options["path"]
            )
            return connection
        _, connection = await loop.create_connection(
            lambda: _Connection(loop),
            options.get("host", "localhost"),
            options.get("port", DEFAULT_PORT),
            ssl=_build_ssl_context(options),
        )
        return connection

    def _build_greeting(self) -> list[bytes]:
        """Return the commands that begin a connection."""
        greeting = [pack_command("SELECT", str(self._options.get("db", 0)))]
        password, username = self._options.get("password"), self._options.get("username")
        if password:
            credentials = (username, password) if username else (password,)
            greeting.insert(0, pack_command("AUTH", *credentials))
        return greeting


def pack_command(*parts: str | bytes) -> bytes:
    """Serialize a command for the wire (RESP arrays of bulk strings)."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(
        b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded
    )


def _build_ssl_context(options: Any) -> ssl.SSLContext | None:
    """Build the context that redis-py would use for the same URL."""
    if options.get("connection_class") is not SSLConnection:
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_check_hostname") is False:
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
