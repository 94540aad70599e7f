"""Figures as ratios of one run, so that they mean the same on any machine: `python -m bench`."""

# First, because it selects the build of Argon2 that the service uses, also for the raw rate.
import app.adapters  # noqa: F401
