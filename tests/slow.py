"""A flag for long tests: `make slow` sets FAULTS=long for more rounds and other examples."""

from __future__ import annotations

import os

LONG = os.environ.get("FAULTS") == "long"
