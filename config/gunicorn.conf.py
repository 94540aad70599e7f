"""gunicorn configuration. `python -m app serve` sets workers, threads and the address."""

from pathlib import Path

# Seconds until a worker that does not respond is replaced.
timeout = 30
# Seconds that requests have to finish after SIGTERM.
graceful_timeout = 20
# Seconds that a connection may be idle. It must exceed the idle timeout of the gateway, which would
# otherwise send requests on closed connections.
keepalive = 75
# RFC 9112 lets the server choose the limits of a request line and of headers.
limit_request_line = 4094
limit_request_field_size = 8190
limit_request_fields = 100
# Headers must not change path or scheme. By default gunicorn trusts peers on loopback, so a client of
# a gateway there could choose the route with SCRIPT_NAME. DOORWARD_TRUSTED_PROXIES replaces this.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers = {}
# Heartbeats are written to memory if possible, so that a slow disk does not look like a hung worker.
MEMORY = "/dev/shm"  # noqa: S108 - gunicorn creates an unlinked file there
worker_tmp_dir = MEMORY if Path(MEMORY).is_dir() else None
