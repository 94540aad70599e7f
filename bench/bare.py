"""The least that Flask can answer: what the cost of a check is measured against."""

from __future__ import annotations

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def get_bare() -> Response:
    return jsonify(status="bare")
