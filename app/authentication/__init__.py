"""Authentication: passwords, throttling and trusted devices."""
