"""Trusted devices, which are not throttled."""
