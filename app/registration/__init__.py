"""Registration, confirmation and import of accounts."""
