"""Being logged in."""
