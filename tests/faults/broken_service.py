"""The service with its revocation check deliberately broken, to prove that the ledger notices. Started like `python -m app`."""

from __future__ import annotations

from app.commands import cli
from app.factory import create_app
from app.gateway import verify
from app.revocation.view import Seen, Verdict


def always_valid(*_args, **_kwargs):
    return Seen(Verdict.VALID, "somebody")


if __name__ == "__main__":
    verify.look = always_valid
    cli(obj=create_app, prog_name="python -m app")
