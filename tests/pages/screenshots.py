"""Draw the screenshots of docs/pages.md, at phone and desktop width: `make screenshots`."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from app.adapters import logs, migrations
from tests.pages.gallery import visit_pages
from tests.pages.palette import reduce_colors
from tests.pages.site import MISSING, Site, find_chromium, open_browser

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "pages"
WIDTHS = {"phone": 390, "desktop": 1280}
# The pages that the documentation shows.
SHOWN = """sign-in activate request approved sessions confirm forgot reset""".split()


def main() -> None:
    if find_chromium() is None:
        sys.exit(MISSING)
    logs.configure_logging(io.StringIO())
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/doorward.db"
        migrations.upgrade(url)
        site = Site(url)
        with open_browser() as chromium:
            save_screenshots(
                site, chromium.new_page(user_agent="Mozilla/5.0 (X11; Linux x86_64) Chrome/145.0")
            )
        site.close()


def save_screenshots(site, page) -> None:
    for name in visit_pages(site, page):
        if name not in SHOWN:
            continue
        page.wait_for_load_state()
        for kind, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 600})
            path = FOLDER / f"{name}-{kind}.png"
            path.write_bytes(reduce_colors(page.screenshot(full_page=True)))


if __name__ == "__main__":
    main()
