"""`make bench` prints its figures. Their values are not tested, because the machine is shared."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bench.enumeration import compared
from bench.load import request
from bench.servers import Answer
from tests.live import ROOT

FIGURES = (
    r"logins / raw Argon2: \d+\.\d\d ",
    r"whoami / bare Flask: \d+\.\d\d ",
    r"a gateway request / bare Flask with one Redis GET: \d+\.\d\d ",
    r"a gateway request, with an identity / bare Flask with one Redis GET: \d+\.\d\d ",
    r"login, known - unknown: [+-]\d+\.\d\d ms, [+-]\d+\.\d %",
    r"login by address, known - unknown: [+-]",
    r"login from a device, known - unknown: [+-]",
    r"login guessed often, known - unknown: [+-]",
    r"forgot, known - unknown: [+-]",
    r"forgot by address, known - unknown: [+-]",
    r"forgot asked often, known - unknown: [+-]",
    r"register, known - unknown: [+-]",
    r"resend to an account, known - unknown: [+-]",
    r"resend to a registration, known - unknown: [+-]",
)


def run(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_short_run_prints_every_figure_with_its_meaning():
    printed = run("bench", "--short")
    for figure in FIGURES:
        assert re.search(rf"^{figure}.*\n  \S", printed, re.MULTILINE), printed
    assert printed.count("status equal body equal headers equal") == 10, printed


def test_breakdown_names_the_parts_of_a_check():
    printed = run("bench.breakdown", "--times", "20")
    shares = {
        line.split()[-1]: int(line.split()[-4])
        for line in printed.splitlines()
        if line.endswith(("find_session_state", "_log_request", "wsgi_app"))
    }
    assert shares.keys() == {"find_session_state", "_log_request", "wsgi_app"}
    assert shares["wsgi_app"] == 100
    assert shares["find_session_state"] > 0


def build_answer(seconds: float = 0.02, **body: object) -> Answer:
    return Answer(seconds, 401, {"code": "no", "request_id": "req_0", **body}, ("Date",))


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (build_answer(), True),
        (build_answer(request_id="req_1"), True),
        (build_answer(detail="such a person"), False),
        (build_answer(request_id="req_10"), False),
    ],
)
def test_responses_are_compared_except_for_random_values(other, alike):
    assert compared("login", [build_answer()], [other]).alike is alike


def test_differences_are_in_milliseconds_and_percent():
    found = compared(
        "login", [build_answer(0.03), build_answer(0.03)], [build_answer(0.02), build_answer(0.02)]
    )
    assert (round(found.difference, 6), round(found.percent, 6), found.told) == (10, 50, 1)


def test_request_is_written_as_http():
    assert request("GET", "/x", X_Forwarded_For="10.0.0.1") == (
        b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
    )
