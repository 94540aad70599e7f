"""Draws docs/images/cli.svg: the command line in a terminal, against a temporary service.

Run by `make recording`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import pyte
from pyte.screens import Char

from app.adapters import migrations
from tests.actors import PASSWORD
from tests.client.conftest import SOURCES, Person
from tests.client.terminal import COMMAND, Terminal
from tests.live import ROOT, LiveServer

TARGET = ROOT / "docs" / "images" / "cli.svg"
COLUMNS, LINES = 80, 31
WIDTH, HEIGHT, MARGIN = 8.4, 17.0, 16.0  # of a character, and around the screen
SIZE = (2 * MARGIN + COLUMNS * WIDTH, 2 * MARGIN + LINES * HEIGHT)
MAX_SCREEN_SECONDS, LAST_SCREEN_SECONDS = 1.6, 5.0  # seconds
PROMPT = r"\$$"
TITLE = "doorward login waits for approval on another device; then whoami, sessions and logout"
STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #e6edf3; white-space: pre }
.b { font-weight: 700 } .p { fill: #e6edf3; shape-rendering: crispEdges } .k { fill: #7d8590 }
"""

Screenshot = tuple[tuple[tuple[Char, ...], ...], tuple[int, int] | None]


@dataclass
class Recording:
    """Screens with the time at which each was shown."""

    shots: list[tuple[float, Screenshot]] = field(default_factory=list)

    def take(self, screen: pyte.Screen) -> None:
        rows = tuple(tuple(screen.buffer[y][x] for x in range(COLUMNS)) for y in range(LINES))
        shot = rows, None if screen.cursor.hidden else (screen.cursor.x, screen.cursor.y)
        if not self.shots or self.shots[-1][1] != shot:
            self.shots.append((time.monotonic(), shot))

    def list_frames(self) -> list[tuple[float, Screenshot]]:
        """Return the screens with their duration, without those shown only for a moment."""
        ends = [*(at for at, _ in self.shots[1:]), self.shots[-1][0] + LAST_SCREEN_SECONDS]
        lasting = [(end - at, shot) for (at, shot), end in zip(self.shots, ends, strict=True)]
        return [
            (
                min(seconds, MAX_SCREEN_SECONDS)
                if index < len(lasting) - 1
                else LAST_SCREEN_SECONDS,
                shot,
            )
            for index, (seconds, shot) in enumerate(lasting)
            if seconds > 0.03
        ]


class Drawing:
    """Draws each distinct line once."""

    def __init__(self) -> None:
        self.lines: dict[tuple[Char, ...], str] = {}

    def render_frame(self, shot: Screenshot) -> str:
        rows, cursor = shot
        parts = [
            f'<use href="#{self._line(row)}" y="{y * HEIGHT:g}"/>'
            for y, row in enumerate(rows)
            if _is_drawn(row)
        ]
        if cursor:
            x, y = cursor
            parts.append(
                f'<rect class="k" x="{x * WIDTH:g}" y="{y * HEIGHT:g}" width="{WIDTH:g}" height="{HEIGHT:g}"/>'
            )
        return "".join(parts)

    def render_definitions(self) -> str:
        return "".join(f'<g id="{name}">{_line(row)}</g>' for row, name in self.lines.items())

    def _line(self, row: tuple[Char, ...]) -> str:
        return self.lines.setdefault(row, f"l{len(self.lines)}")


def _is_drawn(row: tuple[Char, ...]) -> bool:
    return any(char.data != " " or char.bg != "default" for char in row)


def _line(row: tuple[Char, ...]) -> str:
    parts, x = [], 0
    while x < COLUMNS:
        first, start = row[x], x
        blocks = first.data in "█▀▄"
        while (
            x < COLUMNS
            and row[x]._replace(data="") == first._replace(data="")
            and (row[x].data == first.data if blocks else row[x].data not in "█▀▄")
        ):
            x += 1
        text = "".join(char.data for char in row[start:x])
        if blocks:  # as rectangles, because fonts leave gaps between block characters
            top, high = (
                HEIGHT / 2 if first.data == "▄" else 0,
                HEIGHT if first.data == "█" else HEIGHT / 2,
            )
            parts.append(
                f'<rect class="p" x="{start * WIDTH:g}" y="{top:g}" width="{(x - start) * WIDTH + 0.1:g}" height="{high:g}"/>'
            )
        elif text.strip():
            bold = ' class="b"' if first.bold else ""
            left = start + len(text) - len(text.lstrip())
            words = text.strip()
            length = f'textLength="{len(words) * WIDTH:g}" lengthAdjust="spacingAndGlyphs"'
            parts.append(
                f'<text{bold} x="{left * WIDTH:g}" y="{HEIGHT - 4:g}" {length}>{escape(words)}</text>'
            )
    return "".join(parts)


def render_svg(frames: list[tuple[float, Screenshot]]) -> str:
    """Return a strip of frames that CSS moves. With reduced motion, it shows the last frame."""
    drawing, total, at = Drawing(), sum(seconds for seconds, _ in frames), 0.0
    steps, strip = [], []
    for index, (seconds, shot) in enumerate(frames):
        strip.append(
            f'<g transform="translate({index * SIZE[0]:g} 0)">{drawing.render_frame(shot)}</g>'
        )
        steps.append(f"{at / total:.3%} {{ transform: translateX({-index * SIZE[0]:g}px) }}")
        at += seconds
    last = f"translate({-(len(frames) - 1) * SIZE[0]:g} 0)"
    motion = (
        f"@media (prefers-reduced-motion: no-preference) {{ .film {{ animation: film {total:.1f}s step-end infinite }} }}\n"
        f"@keyframes film {{ {' '.join(steps)} }}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE[0]:g} {SIZE[1]:g}" width="{SIZE[0]:g}" height="{SIZE[1]:g}" role="img">'
        f"<title>{TITLE}</title><style>{STYLE}{motion}</style><defs>{drawing.render_definitions()}</defs>"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/><svg x="{MARGIN:g}" y="{MARGIN:g}" width="{COLUMNS * WIDTH:g}" height="{LINES * HEIGHT:g}">'
        f'<g class="film" transform="{last}">{"".join(strip)}</g></svg></svg>\n'
    )


def record_session(live: LiveServer, folder: Path) -> Recording:
    """Record a shell in which a user types commands."""
    program = folder / "doorward"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    (folder / "sitecustomize.py").write_text(
        "import socket\nsocket.gethostname = lambda: 'attic'\n"
    )  # hides the name of this machine
    film = Recording()
    env = {
        "PYTHONPATH": f"{folder}:{SOURCES}",
        "PATH": f"{folder}:{os.environ['PATH']}",
        "DOORWARD_URL": live.url,
        "DOORWARD_STORE": str(folder / "sessions.json"),
        "PS1": "$ ",
    }
    shell = Terminal(
        program=["bash", "--norc", "--noprofile", "-i"],
        columns=COLUMNS,
        lines=LINES,
        watch=film.take,
        **env,
    )
    ann = register_ann(live)

    def type_text(line: str) -> None:
        for start in range(0, len(line), 3):
            shell.type(line[start : start + 3])
            shell.wait_for(re.escape(line[: start + 3].rstrip()) + "$")
            time.sleep(0.1)
        time.sleep(0.3)
        shell.type("\n")

    shell.wait_for(PROMPT)
    time.sleep(0.8)
    type_text('doorward login --device --message "nightly backup"')
    code = shell.wait_for(r"Enter: (\S+)")[1]
    shell.wait_for(r"9:58 left")
    approve(ann, code)
    shell.wait_for(r"unless you use it[\s\S]*\$$")
    time.sleep(1)
    for line in ("clear; doorward whoami", "doorward sessions", "doorward logout"):
        type_text(line)
        time.sleep(1)
        shell.wait_for(PROMPT)
        time.sleep(1)
    shell.close()
    return film


def register_ann(live: LiveServer) -> Person:
    body = {"username": "ann", "email": "ann@example.org", "name": "Ann", "password": PASSWORD}
    registered = live.call("POST", "/v1/register", body)[1]
    code = live.mailbox("ann@example.org")[0]["code"]
    live.call(
        "POST", "/v1/register/confirm", {"registration": registered["registration"], "code": code}
    )
    return Person(live, "ann")


def approve(person: Person, code: str) -> None:
    headers = {"Authorization": f"Bearer {person.log_in(device_name='phone').token}"}
    claimed = person.live.call("POST", "/v1/login-sessions/claim", {"user_code": code}, headers)[1]
    person.live.call(
        "POST", f"/v1/login-sessions/{claimed['id']}/approve", {"user_code": code}, headers
    )


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    url = f"sqlite:///{folder / 'doorward.db'}"
    migrations.upgrade(url)
    live = LiveServer(
        folder / "live.log",
        env={"DOORWARD_DATABASE_URL": url, "DOORWARD_PUBLIC_URL": "https://auth.example.com"},
    )
    try:
        film = record_session(live, folder)
    finally:
        live.stop()
        shutil.rmtree(folder)
    frames = film.list_frames()
    TARGET.write_text(render_svg(frames))
    sys.stdout.write(
        f"{TARGET.relative_to(ROOT)}: {len(frames)} screens, {TARGET.stat().st_size // 1024} KiB\n"
    )


if __name__ == "__main__":
    main()
