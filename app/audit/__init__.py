"""What must be remembered."""
