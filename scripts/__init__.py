"""Scripts for development: `python -m scripts.<name>`."""
