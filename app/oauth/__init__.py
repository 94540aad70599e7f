"""OAuth endpoints: issue, introspect and revoke tokens."""
