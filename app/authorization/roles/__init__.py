"""Global roles of accounts."""
