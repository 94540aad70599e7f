"""Headers of every response."""

from __future__ import annotations

HSTS = "max-age=63072000; includeSubDomains"
CSP = "default-src 'none'; frame-ancestors 'none'"

# A response may set another value.
STANDARD_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": HSTS,
}
