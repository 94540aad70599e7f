"""Tests of the HTTP server, against serving processes."""
