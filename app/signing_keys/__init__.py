"""The keys that sign tokens: creation, rotation, revocation."""
