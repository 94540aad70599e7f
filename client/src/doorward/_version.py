"""The version of this distribution, which is also sent in the User-Agent header."""

__version__ = "0.1.0"
