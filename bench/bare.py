"""Minimal Flask routes, which checks are measured against."""

from __future__ import annotations

import os

import redis
from flask import Flask, Response, jsonify

app = Flask(__name__)
client = redis.Redis.from_url(
    os.environ.get("BARE_REDIS_URL", "redis://127.0.0.1:6379"), protocol=2
)


@app.get("/")
def get_bare() -> Response:
    return jsonify(status="bare")


@app.get("/redis")
def get_redis() -> Response:
    """With one GET of Redis, which every check needs."""
    return jsonify(status="bare", found=client.get("dw1:bare") is not None)
