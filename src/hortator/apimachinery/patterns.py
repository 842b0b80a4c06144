"""Regular expressions from users, on RE2: matching takes linear time whatever the pattern.

RE2 is also what upstream's Go uses, so that ``\\p{L}`` and the like mean the same here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["InvalidPattern", "compile_pattern"]

#: Bytes that one compiled pattern may take.
MAXIMUM_MEMORY = 8 << 20


class InvalidPattern(ValueError):
    """A regular expression that RE2 does not accept; the message says why."""


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> Any:
    """Return the compiled pattern, with ``search`` and ``finditer``. Raises InvalidPattern."""
    import re2  # late: only who matches needs it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAXIMUM_MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise InvalidPattern(reason.decode() if isinstance(reason, bytes) else str(reason)) from error
