"""The status of sessions and API keys: cache, revocations and their feed."""
