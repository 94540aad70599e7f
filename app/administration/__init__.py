"""What an administrator does to accounts."""
