"""Memberships: the levels of accounts at resources."""
