"""The outbox: deliveries with retries and dead letters."""
