"""Presented credentials, requirements, and cookies."""
