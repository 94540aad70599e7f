"""What OAuth clients ask: tokens, what a token is worth, and its end."""
