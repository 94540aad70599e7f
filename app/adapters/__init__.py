"""Adapters for libraries and systems; import-linter allows each library in one module only."""
