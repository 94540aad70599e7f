"""Passwords: normalization, rules, verification."""
