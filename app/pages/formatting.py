"""Durations and user agents in words."""

from __future__ import annotations

import re

from app.i18n import translate, translate_plural

MINUTE, HOUR, DAY = 60, 3600, 86_400
# The first match wins: Edge also claims to be Chrome, and Chrome claims to be Safari.
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
BROWSER_PATTERN = re.compile(r"Mozilla/5\.0 \(([^()]+)\) (.+)")


def format_duration(seconds: int, language: str) -> str:
    """Format a duration, rounded up to hours if it is a day or longer, else to minutes."""
    step = HOUR if seconds >= DAY else MINUTE
    rounded = -(-seconds // step) * step
    days, rest = divmod(rounded, DAY)
    hours, minutes = rest // HOUR, rest % HOUR // MINUTE
    parts = (
        (days, translate_plural(language, "%(count)d day", "%(count)d days", days)),
        (hours, translate_plural(language, "%(count)d hour", "%(count)d hours", hours)),
        (minutes, translate_plural(language, "%(count)d minute", "%(count)d minutes", minutes)),
    )
    return " ".join(text for count, text in parts if count)


def describe_browser(user_agent: str, language: str) -> str:
    """Name a common browser and its system. Return any other user agent unchanged."""
    match = BROWSER_PATTERN.fullmatch(user_agent)
    browser = _find_name(BROWSERS, match[2]) if match else None
    system = _find_name(SYSTEMS, match[1]) if match else None
    if browser is None or system is None:
        return user_agent
    return translate(language, "%(browser)s on %(system)s", browser=browser, system=system)


def _find_name(patterns: dict[str, str], text: str) -> str | None:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text)), None)
