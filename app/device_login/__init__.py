"""Device login (RFC 8628): start, claim, decide, poll."""
