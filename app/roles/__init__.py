"""What an account may do."""
