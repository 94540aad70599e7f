"""Settings from the environment. Nothing else in the service reads environment variables.

Each field of `Settings` is one variable `DOORWARD_<NAME>`, or `DOORWARD_<NAME>_FILE` with the path
of a file that contains the value.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from environs import FileAwareEnv

from app.settings.choices import Environment
from app.settings.metadata import REQUIRED
from app.settings.model import Settings, SettingsError
from app.settings.parsers import MIN_SECRET_KEY_BYTES

ENV_PREFIX = "DOORWARD_"
# Kubernetes sets the first four for a service named doorward. The client reads the others.
IGNORED_VARIABLES = re.compile(r"SERVICE_\w+|PORT|PORT_\w+|URL|USER|TOKEN|STORE")


def load_settings(*, default_public_url: str | None = None) -> Settings:
    """Read every setting from the environment. Raises SettingsError with all faults at once.

    `default_public_url` is used in development if PUBLIC_URL is not set.
    """
    values = _read_values(FileAwareEnv(prefix=ENV_PREFIX, strip_whitespace=True), os.environ)
    environment = values.get("env", Environment.DEVELOPMENT)
    if default_public_url and environment is Environment.DEVELOPMENT:
        values.setdefault("public_url", default_public_url)
    return Settings(**values)


def _read_values(env: FileAwareEnv, environ: Mapping[str, str]) -> dict[str, Any]:
    fields = {field.name.upper(): field for field in dataclasses.fields(Settings)}
    faults = [
        f"{name}: is not a setting of this version"
        for name in sorted(environ)
        if _is_unknown(name, fields)
    ]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            text = _read_text(env, environ, name)
            if text is not None:
                values[field.name] = field.metadata["parse"](text)
            elif field.metadata["default"] == REQUIRED:
                faults.append(f"{ENV_PREFIX}{name}: is required")
        except (ValueError, RecursionError) as error:
            faults.append(f"{ENV_PREFIX}{name}: {_describe_error(error)}")
    if _is_debug_enabled(environ) and values.get("env") is Environment.PRODUCTION:
        faults.append("FLASK_DEBUG: must not be set in production")
    if faults:
        raise SettingsError(faults + _find_contradictions(values))
    return values


def _is_debug_enabled(environ: Mapping[str, str]) -> bool:
    return environ.get("FLASK_DEBUG", "0") not in {"", "0"}


def _find_contradictions(values: Mapping[str, Any]) -> list[str]:
    """Check the valid values against each other, to report every fault in one run."""
    try:
        Settings(**{"secret_key": ("x" * MIN_SECRET_KEY_BYTES,), **values})
    except SettingsError as error:
        return error.faults
    return []


def _is_unknown(name: str, fields: Mapping[str, object]) -> bool:
    bare = name.removeprefix(ENV_PREFIX)
    return (
        bare != name
        and bare not in fields
        and bare.removesuffix("_FILE") not in fields
        and not IGNORED_VARIABLES.fullmatch(bare)
    )


def _read_text(env: FileAwareEnv, environ: Mapping[str, str], name: str) -> str | None:
    if environ.get(f"{ENV_PREFIX}{name}") and environ.get(f"{ENV_PREFIX}{name}_FILE"):
        raise ValueError(f"is set twice, here and by {ENV_PREFIX}{name}_FILE")
    text: str | None = env.str(name, None)
    return text.strip() or None if text is not None else None


def _describe_error(error: Exception) -> str:
    """Return the message if it is one of ours. Messages of libraries can quote the value."""
    is_ours = type(error) is ValueError and str(error).startswith(("must", "is ", "The value of"))
    return str(error) if is_ours else "cannot be read"
