"""Durations and browsers in words."""

from __future__ import annotations

import pytest

from app.pages.formatting import describe_browser, format_duration

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/145.0.0.0"


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (1, "1 minute", "1 Minute"),
        (90, "2 minutes", "2 Minuten"),
        (3600, "1 hour", "1 Stunde"),
        (5400, "1 hour 30 minutes", "1 Stunde 30 Minuten"),
        (86_399, "1 day", "1 Tag"),
        (86_400, "1 day", "1 Tag"),
        (86_401, "1 day 1 hour", "1 Tag 1 Stunde"),
        (604_800, "7 days", "7 Tage"),
        (31_536_000, "365 days", "365 Tage"),
    ],
)
def test_duration_uses_at_most_two_units(seconds, english, german):
    assert (format_duration(seconds, "en"), format_duration(seconds, "de")) == (english, german)


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} Safari/537.36", "Chrome on Linux"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36", "Chrome on Android"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME.replace('Chrome', 'SamsungBrowser/28.0 Chrome')} Mobile Safari/537.36", "Samsung Internet on Android"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/145.0.0.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36 OPR/120.0", "Opera on macOS"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36", "Chrome on ChromeOS"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0", "Firefox on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/141.0 Mobile/15E148 Safari/604.1", "Firefox on iPhone"),
        ("Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/145.0 Mobile/15E148 Safari/604.1", "Chrome on iPad"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("backup/2.1 (Linux) Chrome/1.0", "backup/2.1 (Linux) Chrome/1.0"),
        ("Mozilla/5.0 (compatible; Thing/1.0)", "Mozilla/5.0 (compatible; Thing/1.0)"),
        ("Mozilla/5.0 (Plan 9) Firefox/141.0", "Mozilla/5.0 (Plan 9) Firefox/141.0"),
        ("", ""),
    ],
)  # fmt: skip
def test_common_browsers_are_named_and_others_shown_verbatim(user_agent, words):
    assert describe_browser(user_agent, "en") == words
    assert describe_browser(user_agent, "de") == words.replace(" on ", " auf ")
