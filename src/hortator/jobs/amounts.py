"""Times and sizes as people write them."""

from __future__ import annotations

import re

__all__ = ["InvalidAmount", "parse_duration", "parse_memory"]

_UNITS = {"d": 86400, "h": 3600, "m": 60, "min": 60, "s": 1, "sec": 1, "w": 604800}
_WORD = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)(B?)", re.IGNORECASE)


class InvalidAmount(ValueError):
    """Raised for a text that is no time or size; ``str`` says what is allowed."""


def parse_duration(text: str) -> int:
    """Return whole seconds, rounded up, of ``2h30m``, ``90s``, ``1.5h``, or Slurm's forms.

    Slurm's: ``MM``, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``. A number alone is minutes, as there.
    """
    text = text.strip().lower()
    seconds: float | None = None
    clock = _CLOCK.fullmatch(text)
    if clock:
        days, second, third = (int(clock[index]) if clock[index] else None for index in (1, 3, 4))
        first = int(clock[2])
        if days is not None:
            seconds = ((days * 24 + first) * 60 + (second or 0)) * 60 + (third or 0)
        elif third is not None:
            seconds = (first * 60 + (second or 0)) * 60 + third
        else:
            seconds = first * 60 + (second or 0)
    elif text:
        seconds, at = 0.0, 0
        for word in _WORD.finditer(text):
            if word.start() != at or word[2] not in _UNITS:
                break
            seconds += float(word[1]) * _UNITS[word[2]]
            at = word.end()
        if at != len(text):
            seconds = None
    if seconds is None:
        raise InvalidAmount(f"{text!r} is not a time: write 2h30m, 90s, HH:MM:SS or D-HH:MM:SS")
    if seconds <= 0:
        raise InvalidAmount(f"{text!r}: a time must be more than nothing")
    return int(-(-seconds // 1))


def parse_memory(text: str) -> int:
    """Return bytes of ``16G``, ``16Gi``, ``512M``, ``16GB``.

    K, M, G, T and P are powers of 1024 with or without the ``i``, as in Slurm (and as memory is sold); a number alone
    is megabytes, as in Slurm.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found or (found[3] and not found[2]):
        raise InvalidAmount(f"{text!r} is not a size: write 16G (the same as 16Gi) or 512M")
    unit = found[2].upper() or ("" if found[4] else "M")
    size = int(float(found[1]) * 1024 ** ("KMGTP".index(unit) + 1 if unit else 0))
    if size < 1:
        raise InvalidAmount(f"{text!r}: a time must be more than nothing")
    return size
