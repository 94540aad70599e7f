"""Device login (RFC 8628): the prompt for the user, and polling for the decision."""
