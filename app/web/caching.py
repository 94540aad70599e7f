"""Answers that may be kept for a while, and asked about by their ETag."""

from __future__ import annotations

import hashlib

from flask import Response, request


def build_cacheable_response(text: str, *, max_age: int, public: bool) -> Response:
    """The JSON text; 304 where whoever asks has it already. What is not public may be kept by whoever asked alone."""
    response = Response(text, content_type="application/json")
    response.cache_control.max_age = max_age
    if public:
        response.cache_control.public = True
    else:
        response.cache_control.private = True
        response.vary.update(["Authorization", "X-API-Key"])
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    response.make_conditional(request)
    return response
