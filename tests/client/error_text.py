"""Everything that a tool could show of an exception."""

from __future__ import annotations

import traceback


def render_error(error: BaseException) -> str:
    """Return everything a tracker could record of an error: texts, causes, and local variables."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    chain, found = [frames], []
    while chain:
        one = chain.pop()
        # The frames of the test hold the planted secrets.
        found += [
            str(local)
            for frame in one.stack
            if "/tests/" not in frame.filename
            for local in (frame.locals or {}).items()
        ]
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(
        [
            *found,
            str(error),
            repr(error),
            repr(error.args),
            repr(vars(error)),
            "".join(frames.format_exception_only()),
        ]
    )
