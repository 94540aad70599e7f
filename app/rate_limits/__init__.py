"""Rate limits by source and by recipient."""
