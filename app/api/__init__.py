"""What can be asked: one blueprint a file, schemas above handlers."""
