"""Checks the version of the service against the versions that a program supports."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from doorward.errors import InvalidInput, VersionMismatch, VersionWarning

VERSION_PATTERN = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,4})(.*)", re.DOTALL)
Key = tuple[tuple[int, ...], bool]


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """The supported versions of the service.

    A mismatch issues a VersionWarning, or raises VersionMismatch with `error`.
    """

    min: str | None = None
    max: str | None = None
    equal: str | None = None
    error: bool = False

    def check(self, version: str) -> None:
        """Warn or raise if the version is not supported. Raises InvalidInput for invalid bounds."""
        mismatch = self._find_mismatch(version)
        if not mismatch:
            return
        if self.error:
            raise VersionMismatch(mismatch)
        warnings.warn(mismatch, VersionWarning, stacklevel=3)

    def _find_mismatch(self, version: str) -> str:
        bounds = {
            bound: _parse_bound(text)
            for bound, text in (("min", self.min), ("max", self.max), ("equal", self.equal))
            if text is not None
        }
        found = _parse_version(version)
        if found is None:
            return f"The service reports no valid version ({version[:32]!r}). Check the URL."
        actual = f"The service has version {version}"
        if "equal" in bounds and found != bounds["equal"]:
            return f"{actual}, but this program needs {self.equal}. Contact the operator."
        if "min" in bounds and found < bounds["min"]:
            return (
                f"{actual}, but this program needs at least {self.min}."
                " Ask the operator to upgrade the service."
            )
        if "max" in bounds and found > bounds["max"]:
            return f"{actual}, but this program supports at most {self.max}. Upgrade the program."
        return ""


def _parse_bound(text: str) -> Key:
    key = _parse_version(text)
    if key is None:
        raise InvalidInput(
            f"{text!r} is not a version. Use a version like 1.2.0.",
            errors={"version": ["must look like 1.2.0"]},
        )
    return key


def _parse_version(text: str) -> Key | None:
    """Return the numbers without trailing zeros, and whether it is a final release.

    Pre-releases sort before their release (1.0rc1 < 1.0).
    """
    parts = VERSION_PATTERN.fullmatch(text.strip())
    if parts is None:
        return None
    numbers = [int(number) for number in parts[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    suffix = parts[2]
    return tuple(numbers), not suffix or suffix.startswith(("+", ".post"))
