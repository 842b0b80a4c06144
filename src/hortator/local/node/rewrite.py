"""Without a sandbox nothing can be mounted: paths of volumes in arguments and values become the real folders. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["PathRewriter"]


class PathRewriter:
    """Replaces mount paths, the longest first, where a path begins and ends (``/data`` not in ``/database``)."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = {path.rstrip("/"): folder for path, folder in folders.items() if path.rstrip("/")}
        paths = sorted(self._folders, key=len, reverse=True)
        # A path starts at the beginning or after what can stand before one in options, lists and URLs of files.
        self._pattern = re.compile(
            r"(?<![\w./-])(" + "|".join(map(re.escape, paths)) + r")(?![\w.-])" if paths else r"(?!)"
        )

    def __call__(self, text: str) -> str:
        """Return the text with every mount path replaced."""
        return self._pattern.sub(lambda match: self._folders[match.group(1)], text)

    def values(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables with every mount path replaced in their values."""
        return {name: self(value) for name, value in variables.items()}
