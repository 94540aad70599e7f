"""`python -m doorward`: the same as `doorward`."""

from doorward.cli import main

main()
