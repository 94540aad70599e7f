"""Accounts, their names and their profiles."""
