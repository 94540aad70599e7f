"""docs/client.md: its examples run, and it names every public name."""

from __future__ import annotations

import re
import threading

import doorward
from tests.client.fake_server import Reply
from tests.live import ROOT

PAGE = (ROOT / "docs" / "client.md").read_text()


def test_every_public_name_is_documented():
    missing = [name for name in doorward.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []


def test_every_method_of_the_client_is_documented():
    for kind in (doorward.Doorward, doorward.Login, doorward.Session):
        public = {name for name in dir(kind) if not name.startswith("_")}
        # Public only for other modules of the client.
        missing = {
            name
            for name in public
            - {
                "transport",
                "get_checked_transport",
                "use_session",
                "require_origin",
                "origin",
                "has_url",
                "replace_tokens",
                "logged_in",
            }
            if not re.search(rf"\b{name}\b", PAGE)
        }
        assert missing == set(), kind


def test_documented_examples_run(ann, fake_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    api, printed = fake_server(Reply({})), []

    def show(*what):
        printed.append(" ".join(str(one) for one in what))
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
    assert ann.name in printed
    assert "api_key" in printed
    assert (
        api.list_headers("Authorization")
        == [f"Bearer {api.list_headers('Authorization')[0].split()[1]}"] * 2
    )
    assert not (tmp_path / "token").exists()
