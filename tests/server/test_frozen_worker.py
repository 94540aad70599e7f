"""A worker that no longer responds is killed and replaced."""

from __future__ import annotations

import os
import signal
import time

from tests.postgres import list_children


def test_frozen_worker_is_replaced(make_live):
    live = make_live()
    (worker,) = list_children(live.process.pid)
    os.kill(worker, signal.SIGSTOP)
    end = time.monotonic() + 60
    while worker in list_children(live.process.pid):
        assert time.monotonic() < end
        time.sleep(0.5)
    live.await_ready()
    assert "worker does not respond" in live.log.read_text()
