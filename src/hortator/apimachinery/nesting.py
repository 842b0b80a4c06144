"""How deep a value may be nested, so that no request can exhaust the stack of whoever walks it.

Upstream's decoder allows 10,000 levels; no real object has more than a few dozen. Whatever walks values recursively
in this package relies on this limit; whoever decodes untrusted text applies it at the door.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MAXIMUM_DEPTH", "too_deep"]

#: Lists and maps inside each other.
MAXIMUM_DEPTH = 128


def too_deep(value: Any, maximum: int = MAXIMUM_DEPTH) -> bool:
    """Say whether lists and maps are nested more than ``maximum`` levels. Needs no stack itself."""
    level = [value]
    for _ in range(maximum):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [child for child in each.values() if isinstance(child, (dict, list))]
            elif isinstance(each, list):
                below += [child for child in each if isinstance(child, (dict, list))]
        if not below:
            return False
        level = below
    return True
