"""A secret mailed out that comes back once."""
