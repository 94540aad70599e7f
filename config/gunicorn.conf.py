"""How gunicorn serves. Workers, threads and address are said on the command line of `python -m app serve`."""

# A worker that does not come back within this many seconds is replaced.
timeout = 30
# After SIGTERM, requests that are being answered have this many seconds to end.
graceful_timeout = 20
# A connection may wait this many seconds for its next request. Longer than a gateway's own, or it meets closed ones.
keepalive = 75
# RFC 9112 leaves these to the server: one line, one header, and how many.
limit_request_line = 4094
limit_request_field_size = 8190
limit_request_fields = 100
# Heartbeats go to memory: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn makes an unlinked file there
