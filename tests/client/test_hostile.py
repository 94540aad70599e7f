"""Answers that no honest service gives: each ends in an error of ours, in time, or in something sensible."""

from __future__ import annotations

import pytest

from doorward import Doorward, InvalidInput
from tests.client.stand_in import Says


def test_a_path_leads_to_no_other_host(stand_in):
    there = stand_in(Says({}))
    client = Doorward(there.url)
    client.login.with_api_key("dwk_key")
    for path in ("@evil.example/", "1/", ".evil.example/", "", "http://evil.example/"):
        with pytest.raises(InvalidInput, match="begin with /"):
            client.call("GET", path)
    assert there.seen == []
