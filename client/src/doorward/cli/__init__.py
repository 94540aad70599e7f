"""The `doorward` command line."""
