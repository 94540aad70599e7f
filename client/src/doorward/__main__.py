"""Runs the command line as `python -m doorward`."""

from doorward.cli.main import main

main()
