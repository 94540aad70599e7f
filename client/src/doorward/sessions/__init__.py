"""A session: its credential, refreshing it, and where it is stored."""
