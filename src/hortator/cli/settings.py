"""The person's settings (``config.toml``): today only the cluster that ``hort context use`` chose."""

from __future__ import annotations

import re
from pathlib import Path

from hortator.cli.errors import CommandError
from hortator.cli.places import config_dir, private_dir, write_private

__all__ = ["choose_context", "chosen_context", "settings_file"]


def settings_file() -> Path:
    """Return the file's place, whether it exists or not."""
    return config_dir() / "config.toml"


def chosen_context() -> str:
    """Return the chosen context, or an empty string. Raises :class:`CommandError` when the file cannot be read."""
    path = settings_file()
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CommandError(f"cannot read {path}", cause=error.strerror or str(error)) from error
    import tomllib

    try:
        value = tomllib.loads(text).get("context", "")
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path} is not valid TOML", cause=str(error)) from error
    if not isinstance(value, str):
        raise CommandError(f"{path}: context must be a string", cause=f"found {value!r}")
    return value


def choose_context(name: str) -> None:
    """Write the chosen context; every other line of the file stays as it is."""
    chosen_context()  # refuses a damaged file rather than adding to it
    path = settings_file()
    text = path.read_text() if path.exists() else ""
    line = f'context = "{name}"'
    changed, count = re.subn(r"(?m)^context\s*=.*$", lambda _: line, text, count=1)
    private_dir(path.parent)
    write_private(path, (changed if count else f"{line}\n{text}").encode())
