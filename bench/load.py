"""Load from one thread over a few persistent connections, each with one request in flight.

The client shares the machine with the server, so it does as little work as possible.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

GIVES_UP = 10.0  # seconds without any response


@dataclass(slots=True)
class Load:
    """Responses and their durations."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)

    def add(self, other: Load) -> None:
        self.seconds += other.seconds
        self.statuses += other.statuses

    def rate(self, status: int = 200) -> float:
        """Return the responses of that status per second."""
        return self.statuses[status] / self.seconds


def put_on(port: int, requests: Iterable[bytes], *, connections: int, seconds: float) -> Load:
    """Send the requests in turn for that many seconds. Counts the responses that are in flight."""
    load, sending = Load(), itertools.cycle(requests)
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            asker = _Asker(port)
            selector.register(asker.socket, selectors.EVENT_READ, asker)
        began = time.perf_counter()
        for asker in _askers(selector):
            asker.send(next(sending))
        _drive(selector, load, sending, until=began + seconds)
        load.seconds = time.perf_counter() - began
        for asker in list(_askers(selector)):
            asker.socket.close()
    return load


class _Asker:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), GIVES_UP)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, request: bytes) -> None:
        self._received = b""
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Return the status once the response is complete."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed a connection that was to stay open")
        self._received += chunk
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return None
        return int(head[9:12])


def _askers(selector: selectors.BaseSelector) -> Iterator[_Asker]:
    return (key.data for key in list(selector.get_map().values()))


def _drive(
    selector: selectors.BaseSelector, load: Load, sending: Iterator[bytes], *, until: float
) -> None:
    waiting = len(selector.get_map())
    while waiting:
        ready = selector.select(GIVES_UP)
        if not ready:
            raise TimeoutError("no answer")
        for key, _ in ready:
            status = key.data.receive()
            if status is None:
                continue
            load.statuses[status] += 1
            if time.perf_counter() < until:
                key.data.send(next(sending))
            else:
                waiting -= 1


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Build a request as bytes; `X_Forwarded_For` becomes the header of that name."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if body else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
