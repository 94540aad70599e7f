"""OAuth forms and errors."""
