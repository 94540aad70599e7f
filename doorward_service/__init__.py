"""The service as installed from a wheel, with app/, migrations/ and config/ in this folder.

This avoids a top-level package named `app`. `python -m doorward_service` replaces `python -m app`.
"""
