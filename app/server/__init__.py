"""The HTTP server, its background jobs and the worker."""
