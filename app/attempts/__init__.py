"""How often somebody tried."""
