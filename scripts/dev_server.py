"""`python -m scripts.dev_server HOST:PORT`: serve with readable logs and restart on changes."""

from __future__ import annotations

import os
import sys

from werkzeug.serving import run_simple

from app.adapters import logs
from app.cli.db import upgrade_or_exit
from app.cli.serve import build_banner
from app.cli.start import get_log_level, load_settings_or_exit
from app.factory import create_app
from app.server.background_jobs import BackgroundJobs, ProcessKind
from app.settings import load_settings


def main(bind: str) -> None:
    settings = load_settings_or_exit(lambda: load_settings(default_public_url=f"http://{bind}"))
    if settings.is_production:
        sys.exit("The development server is not for production. Use `python -m app serve`.")
    logs.configure_logging(level=get_log_level(settings), renderer=logs.READABLE_RENDERER)
    upgrade_or_exit(settings)
    app = create_app(settings)
    if os.environ.get("WERKZEUG_RUN_MAIN") == "true":  # the process that serves, not the watcher
        BackgroundJobs(app.extensions["doorward"], ProcessKind.SERVER).start()
        print(build_banner(settings, bind), flush=True)
    host, _, port = bind.rpartition(":")
    run_simple(host, int(port), app, use_reloader=True, threaded=True)


if __name__ == "__main__":
    main(sys.argv[1])
