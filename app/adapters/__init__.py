"""Adapters for libraries and systems; import-linter allows each library in one module only."""

from app.adapters.argon2_build import select_build

# Before any module below imports argon2.
select_build()
