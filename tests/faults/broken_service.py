"""The service with a broken revocation check, to prove that the ledger detects it.

It starts like `python -m app`.
"""

from __future__ import annotations

from app.cli import cli
from app.credential_status.session_cache import CachedSession, Verdict
from app.factory import create_app
from app.server import checks
from app.verification import session_tokens


def accept_every_session(*_args, **_kwargs):
    return CachedSession(Verdict.VALID, "ann")


if __name__ == "__main__":
    # A patch of a renamed function would break nothing, and the test would prove nothing.
    assert hasattr(session_tokens, "get_cached_session")
    session_tokens.get_cached_session = accept_every_session
    assert hasattr(checks, "evaluate_entries")
    checks.evaluate_entries = accept_every_session
    cli(obj=create_app, prog_name="python -m app")
