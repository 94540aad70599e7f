"""Figures as ratios of one run, so that they mean the same on any machine: `python -m bench`."""
