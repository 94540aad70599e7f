"""API keys: long-lived credentials for programs."""
