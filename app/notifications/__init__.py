"""Notifications: the outbox of deliveries, and email."""
