"""HTML pages for users."""
