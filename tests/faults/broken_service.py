"""The service with its revocation check deliberately broken, to prove that the ledger notices. Started like `python -m app`."""

from __future__ import annotations

from app.cli import cli
from app.credential_status.session_cache import CachedSession, Verdict
from app.factory import create_app
from app.verification import session_tokens as verify


def accept_every_session(*_args, **_kwargs):
    return CachedSession(Verdict.VALID, "somebody")


if __name__ == "__main__":
    verify.look = accept_every_session
    cli(obj=create_app, prog_name="python -m app")
