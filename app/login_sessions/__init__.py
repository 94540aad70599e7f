"""Being let in from another device."""
