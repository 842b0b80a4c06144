"""How lists and objects are printed: a table for people; JSON, YAML and names for programs."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["FORMATS", "add_output", "age", "emit", "printable", "table"]

FORMATS = ("wide", "json", "yaml", "name")

#: Control characters other than tab: what a job's name or message holds must not drive the reader's terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def add_output(parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """Give a command its ``-o``."""
    parser.add_argument(
        "-o", "--output", choices=formats, metavar="FORMAT", help=f"output format: {', '.join(formats)}"
    )


def emit(
    output: str | None,
    items: Sequence[Mapping[str, Any]],
    *,
    rows: Callable[[bool], tuple[Sequence[str], Sequence[Sequence[str]]]],
    single: bool = False,
) -> None:
    """Print ``items`` as asked for; ``rows(wide)`` gives the table's header and cells.

    JSON and YAML are a list, or one object with ``single``; ``name`` prints the ``name`` of each item.
    """
    value: Any = items[0] if single else list(items)
    if output == "json":
        print(json.dumps(value, indent=2))
    elif output == "yaml":
        from hortator.apimachinery import yaml

        sys.stdout.write(yaml.dump(value))
    elif output == "name":
        for item in items:
            print(item["name"])
    else:
        header, cells = rows(output == "wide")
        print(table(header, cells))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns padded to their widest cell, three spaces apart, without trailing blanks."""
    cells = [[str(cell) for cell in row] for row in ([list(header), *rows] if header else rows)]
    if not cells:
        return ""
    cells = [[printable(cell) for cell in row] for row in cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def printable(text: str) -> str:
    """Return the text with control characters (new lines too) replaced by spaces."""
    return _CONTROL.sub(" ", text)


def age(timestamp: str, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was, as kubectl writes it (``5s``, ``3m20s``, ``2h``, ``4d``)."""
    if not timestamp:
        return "-"
    then = datetime.fromisoformat(timestamp)
    return duration(((now or datetime.now(UTC)) - then).total_seconds())


def duration(seconds: float) -> str:
    """Return a length of time in at most two units."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{days}d"
