"""Throttling of password and code attempts."""
