"""JSON as it leaves: one line, ended, so that a terminal shows it well."""

from __future__ import annotations

from flask import json


def dump_json(found: object) -> str:
    return json.dumps(found, separators=(",", ":")) + "\n"
