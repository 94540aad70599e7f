"""Errors that must not undo the writes before them are raised as `raise work.keep(...)`, and no others are."""

import ast
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app"
# The writes that each error keeps. A new line here is a decision: the request fails, and these rows stay.
KEPT = {
    ("authentication/authenticate.py", "_audit_failure"): "the failed attempt and the audit event",
    ("authentication/authenticate.py", "busy"): "the refund of the attempt",
    ("device_login/claim.py", "UnknownUserCode"): "the counted code attempt and the audit event",
    ("device_login/decide.py", "UnknownUserCode"): "the counted code attempt and the audit event",
    ("device_login/poll.py", "AccessDenied"): "the expired approval and the audit event",
    ("device_login/poll.py", "AuthorizationPending"): "the time of the poll and its interval",
    ("device_login/poll.py", "SlowDown"): "the time of the poll and its interval",
    ("registration/confirm.py", "InvalidToken"): "the counted attempt and the used registration",
    ("sessions/log_in.py", "PasswordChangeRequired"): "the reset token and the audit event",
    ("sessions/refresh.py", "InvalidGrant"): "the revoked session, its audit event and the email",
}
WRITES = {"record_event", "record_failure", "enqueue_email", "refund_attempt", "revoke_sessions"}


def _parse_functions():
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield path.relative_to(APP).as_posix(), node


def _is_keep(error):
    return (
        isinstance(error, ast.Call)
        and isinstance(error.func, ast.Attribute)
        and error.func.attr == "keep"
        and ast.unparse(error.func.value) == "work"
    )


def _find_writes_before_raise(function):
    """Yield every raise that follows a write in the same block without keeping it."""
    for node in ast.walk(function):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if not isinstance(block, list):
                continue
            written = False
            for statement in block:
                if isinstance(statement, ast.Raise) and written and not _is_keep(statement.exc):
                    yield statement.lineno
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                    called = statement.value.func
                    name = getattr(called, "id", getattr(called, "attr", ""))
                    written = written or name in WRITES


def test_error_raised_after_a_write_keeps_it():
    lost = [
        f"{path}:{line}"
        for path, function in _parse_functions()
        for line in _find_writes_before_raise(function)
    ]
    assert lost == []


def test_kept_errors_are_exactly_those_listed():
    kept = {
        (path, ast.unparse(node.exc.args[0]).partition("(")[0])
        for path, function in _parse_functions()
        for node in ast.walk(function)
        if isinstance(node, ast.Raise) and node.exc is not None and _is_keep(node.exc)
    }
    assert kept == set(KEPT)


def test_keep_is_only_ever_raised():
    for path, function in _parse_functions():
        kept = sum(_is_keep(node) for node in ast.walk(function))
        raised = sum(
            isinstance(node, ast.Raise) and node.exc is not None and _is_keep(node.exc)
            for node in ast.walk(function)
        )
        assert kept == raised, path
