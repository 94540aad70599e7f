"""Verification of access tokens, API keys and page cookies."""
