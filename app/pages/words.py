"""What machines say, in words for people: how long something lasts, and which browser somebody uses."""

from __future__ import annotations

import re

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNIT_NAMES = {
    "en": {DAY: ("day", "days"), HOUR: ("hour", "hours"), MINUTE: ("minute", "minutes")},
    "de": {DAY: ("Tag", "Tage"), HOUR: ("Stunde", "Stunden"), MINUTE: ("Minute", "Minuten")},
}
# The first that is found counts: Edge says that it is Chrome, and Chrome that it is Safari.
BROWSERS = {
    "Firefox": r"\b(?:Firefox|FxiOS)/",
    "Edge": r"\bEdg(?:e|A|iOS)?/",
    "Opera": r"\bOPR/",
    "Samsung Internet": r"\bSamsungBrowser/",
    "Chrome": r"\b(?:Chrome|CriOS)/",
    "Safari": r"\bVersion/[\d.]+ .*\bSafari/",
}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows NT",
    "macOS": "Macintosh",
    "ChromeOS": "CrOS",
    "Linux": "Linux",
}
BROWSER_ON_SYSTEM = {"en": "on", "de": "auf"}
BROWSER = re.compile(r"Mozilla/5\.0 \(([^()]+)\) (.+)")


def format_duration(seconds: int, language: str) -> str:
    """So long, rounded up: to hours from a day on, else to minutes."""
    step = HOUR if seconds >= DAY else MINUTE
    left, parts = -(-seconds // step) * step, []
    for unit, (one, many) in UNIT_NAMES[language].items():
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    return " ".join(parts)


def describe_browser(user_agent: str, language: str) -> str:
    """The browser and its system, where it is one of the common ones; else what it said of itself."""
    said = BROWSER.fullmatch(user_agent)
    name = _find_first(BROWSERS, said[2]) if said else None
    system = _find_first(SYSTEMS, said[1]) if said else None
    return f"{name} {BROWSER_ON_SYSTEM[language]} {system}" if name and system else user_agent


def _find_first(patterns: dict[str, str], text: str) -> str | None:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text)), None)
