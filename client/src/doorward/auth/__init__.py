"""Adds the token of a session to requests to other APIs, for httpx2 and for requests."""
