"""docs/client.md: its examples run in the order they stand, and it names everything that is public."""

from __future__ import annotations

import re
import threading

import doorward
from tests.client.stand_in import Says
from tests.live import ROOT

PAGE = (ROOT / "docs" / "client.md").read_text()


def test_every_public_name_is_documented():
    missing = [name for name in doorward.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []


def test_every_method_of_the_client_is_documented():
    for kind in (doorward.Doorward, doorward.Login, doorward.Session):
        public = {name for name in dir(kind) if not name.startswith("_")}
        # What the parts of the client need of each other.
        missing = {
            name
            for name in public
            - {
                "transport",
                "checked",
                "use",
                "settle_on",
                "origin",
                "named",
                "replace",
                "logged_in",
            }
            if not re.search(rf"\b{name}\b", PAGE)
        }
        assert missing == set(), kind


def test_its_examples_run(ann, stand_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    api, shown = stand_in(Says({})), []

    def show(*what):
        shown.append(" ".join(str(one) for one in what))
        if isinstance(what[0], doorward.Prompt):
            threading.Thread(target=ann.approve, args=(what[0].user_code,)).start()

    namespace = {"print": show}
    examples = re.findall(r"^```python\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) > 7
    for example in examples:
        here = (
            example.replace("https://auth.example.com", ann.live.url)
            .replace("https://api.example.com", api.url)
            .replace('"ann"', f'"{ann.name}"')
        )
        exec(compile(here, "docs/client.md", "exec"), namespace)
    assert ann.name in shown
    assert "api_key" in shown
    assert (
        api.headers_of("Authorization")
        == [f"Bearer {api.headers_of('Authorization')[0].split()[1]}"] * 2
    )
    assert not (tmp_path / "token").exists()
