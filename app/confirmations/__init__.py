"""Single-use tokens that are emailed to confirm an action."""
