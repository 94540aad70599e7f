"""The tables of docs/permissions.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "permissions.md"
PAGE_COLUMNS = ["page", "logged out", "logged in", "logged in, old", "other's"]
COLUMNS = [
    "route",
    "none",
    "invalid",
    "account",
    "account, old",
    "admin",
    "admin, old",
    "API key",
    "other's",
]
# The formats in which a test sends an API key.
HEADER, BEARER, EXCHANGED = "X-API-Key", "bearer", "access token issued to it"
HEADER_UNREAD = {"POST /oauth/token", "POST /oauth/revoke", "POST /oauth/device_authorization"}
# An administrator's session with limited scopes has the permissions of an account.
COLUMN_OF = {"narrow": "account"}


@dataclass(frozen=True)
class Row:
    """A row of the table of API routes."""

    route: str
    none: str
    invalid: str
    account: str
    account_later: str
    admin: str
    admin_later: str
    key: str
    others: str

    def get_own(self, column: str) -> str:
        return getattr(self, COLUMN_OF.get(column, column))

    def get_for_other(self, column: str) -> str:
        """Return the expected response for a resource of another account."""
        account, admin, later = (*self.others.split(", "), "", "")[:3]
        if column == "admin_later" and later:
            return later
        about = (admin or account) if COLUMN_OF.get(column, column).startswith("admin") else account
        return "password" if self.get_own(column) == "password" else about

    def get_for_key(self, scope: str, spelling: str) -> str:
        if self.route in HEADER_UNREAD and spelling == HEADER:
            return self.none
        if self.route.startswith("POST /oauth/") and spelling == EXCHANGED:
            return "401"  # does not authenticate a client
        if self.key in {"401", "403"}:
            return self.key
        return "yes" if self.key == "any" or scope in self.key.split(", ") else "scope"

    def get_invalid(self, spelling: str) -> str:
        return self.none if self.route in HEADER_UNREAD and spelling == HEADER else self.invalid


def read_table(*columns: str) -> Iterator[list[str]]:
    """Yield the rows of the table with these columns."""
    inside = False
    for line in PAGE.read_text().splitlines():
        cells = (
            [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
            if line.startswith("|")
            else []
        )
        if cells == list(columns):
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|-"):
            yield cells


ROWS = [Row(*cells) for cells in read_table(*COLUMNS)]
PUBLIC = [cells[0] for cells in read_table("public route")]
PAGES = {cells[0]: cells[1:] for cells in read_table(*PAGE_COLUMNS)}
