"""Responses that clients may cache and revalidate by ETag."""

from __future__ import annotations

import hashlib

from flask import Response, request


def build_cacheable_response(text: str, *, max_age: int, public: bool) -> Response:
    """Build a JSON response, or 304 if the client has it. `max_age` is in seconds.

    Shared caches may keep it only if it is public.
    """
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
