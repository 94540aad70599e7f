"""`python -m bench.footprint`: count the files and functions that a login touches."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

from app.adapters import logs
from bench.breakdown import PASSWORD, sign_up

APP = str(Path(__file__).resolve().parents[1] / "app") + os.sep
MAX_FILES, MAX_FUNCTIONS = 25, 80
# Expressions in a function belong to it.
INNER = {"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>", "<lambda>"}


def trace_login(app: Any) -> set[CodeType]:
    """Log in once, and return the code of every function of the service that ran."""
    seen: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(APP) and code.co_name not in INNER:
            seen.add(code)

    client = app.test_client()
    body = {"username": "ann", "password": PASSWORD}
    client.post("/v1/login", json=body)  # the first login also creates the signing key
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        status = client.post("/v1/login", json=body).status_code
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if status != 200:
        raise RuntimeError(f"the login answered {status}")
    return seen


def main() -> int:
    with (
        TemporaryDirectory(prefix="doorward-bench-") as folder,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        logs.configure_logging()
        codes = trace_login(sign_up(f"sqlite:///{folder}/doorward.db")[0])
    files = Counter(code.co_filename.removeprefix(APP) for code in codes)
    for file, functions in sorted(files.items()):
        print(f"{functions:4}  {file}")
    print(f"A login touches {len(files)} files and {len(codes)} functions of the service.")
    print(f"Targets: at most {MAX_FILES} files and {MAX_FUNCTIONS} functions.")
    return int(len(files) > MAX_FILES or len(codes) > MAX_FUNCTIONS)


if __name__ == "__main__":
    sys.exit(main())
