"""Is the service of a version that the program was made for?"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from doorward.errors import InvalidInput, VersionMismatch, VersionWarning

VERSION_PATTERN = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,4})(.*)", re.DOTALL)
Key = tuple[tuple[int, ...], bool]


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of the service will do; `error`: raise VersionMismatch, instead of a VersionWarning."""

    min: str | None = None
    max: str | None = None
    equal: str | None = None
    error: bool = False

    def check(self, version: str) -> None:
        """Warn or raise. Raises InvalidInput for bounds that are no versions."""
        fault = self._find_mismatch(version)
        if not fault:
            return
        if self.error:
            raise VersionMismatch(fault)
        warnings.warn(fault, VersionWarning, stacklevel=3)

    def _find_mismatch(self, version: str) -> str:
        bounds = {
            bound: _parse_bound(text)
            for bound, text in (("min", self.min), ("max", self.max), ("equal", self.equal))
            if text is not None
        }
        found = _parse_version(version)
        if found is None:
            return f"The service does not say which version it is ({version[:32]!r}): check the address."
        if "equal" in bounds and found != bounds["equal"]:
            return f"The service is of version {version}, and {self.equal} is needed: ask its operator, or change the program."
        if "min" in bounds and found < bounds["min"]:
            return f"The service is of version {version}, and at least {self.min} is needed: ask its operator to update."
        if "max" in bounds and found > bounds["max"]:
            return f"The service is of version {version}, and at most {self.max} is known to work: update the program."
        return ""


def _parse_bound(text: str) -> Key:
    key = _parse_version(text)
    if key is None:
        raise InvalidInput(
            f"{text!r} is no version like 1.2.0.", errors={"version": ["must look like 1.2.0"]}
        )
    return key


def _parse_version(text: str) -> Key | None:
    """Numbers without zeros at the end, and whether it is the release itself: what comes before a release is less (1.0rc1 < 1.0)."""
    parts = VERSION_PATTERN.fullmatch(text.strip())
    if parts is None:
        return None
    numbers = [int(number) for number in parts[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    suffix = parts[2]
    return tuple(numbers), not suffix or suffix.startswith(("+", ".post"))
