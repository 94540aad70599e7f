"""Becoming an account."""
