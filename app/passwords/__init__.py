"""Forgetting and changing a password."""
