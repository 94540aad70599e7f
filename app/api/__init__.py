"""HTTP endpoints: one blueprint per file, with its schemas above the handlers."""
