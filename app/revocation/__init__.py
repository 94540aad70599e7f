"""What has ended."""
