"""Interactive API documentation, served from installed files so that it works offline."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, render_template, send_from_directory

blp = Blueprint("docs", __name__)

ASSETS = Path(str(files("flask_swagger_ui"))) / "dist"
OWN_ASSETS = Path(__file__).parent / "static"
# Swagger UI sets inline styles. Scripts load from this service only.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ASSET_MAX_AGE_SECONDS = 3600


@blp.route("/docs", methods=["GET"])
def get_docs() -> Response:
    """Show Swagger UI for /openapi.json."""
    response = Response(render_template("docs.html"), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CSP
    return response


@blp.route("/docs/assets/<name>", methods=["GET"])
def get_asset(name: str) -> Response:
    """Serve a script, stylesheet or image of the page."""
    folder = OWN_ASSETS if (OWN_ASSETS / name).is_file() else ASSETS
    response = send_from_directory(folder, name, max_age=ASSET_MAX_AGE_SECONDS)
    response.cache_control.public = True
    return response
