"""The service where it was installed from a wheel: a folder like that of the sources, with app/, migrations/ and config/ in it.

So nothing called `app` is installed beside packages of others. `python -m doorward_service` is what `python -m app` is in the sources.
"""
