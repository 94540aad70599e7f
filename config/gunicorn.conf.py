"""How gunicorn serves. Workers, threads and address are said on the command line of `python -m app serve`."""

from pathlib import Path

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
# No header may say which path or scheme was asked for, whoever sends it: by default a peer on loopback, and through it any
# client of a gateway there, could choose the route with SCRIPT_NAME. DOORWARD_TRUSTED_PROXIES decides what is believed.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers = {}
# Heartbeats go to memory where there is such a folder: a slow disk must not look like a hung worker.
MEMORY = "/dev/shm"  # noqa: S108 - gunicorn makes an unlinked file there
worker_tmp_dir = MEMORY if Path(MEMORY).is_dir() else None
