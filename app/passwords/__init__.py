"""Resetting and changing a password."""
