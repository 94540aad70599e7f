"""Email: templates, queueing, sending."""
