"""Administration of accounts: create, list, update, revoke sessions, send resets."""
