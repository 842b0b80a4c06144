"""The JSONPath of printer columns and of scale and selectable fields, as far as CustomResourceDefinitions use it.

Fields (``.a.b``, ``['a.b']``), indexes, slices, ``[*]`` and filters (``[?(@.type=="Ready")]``). Anything else is
refused when the definition is read, not when an object is shown.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["InvalidPath", "compile_path", "simple_path"]

_TOKEN = re.compile(
    r"""\.(?P<field>[A-Za-z_$][A-Za-z0-9_$-]*|(?:\\.|[^.\[\]\\'"()\s])+)
      | \[\s*(?P<quote>['"])(?P<name>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*\]
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*(?P<slice>-?\d*\s*:\s*-?\d*)\s*\]
      | (?P<all>\[\s*\*\s*\]|\.\*)
      | \[\?\(\s*@(?P<left>(?:\.[\w$-]+)+)\s*(?P<operator>==|!=)\s*
        (?P<right>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|-?\d+|true|false)\s*\)\]""",
    re.VERBOSE,
)

Step = Callable[[list[Any]], list[Any]]


class InvalidPath(ValueError):
    """Raised for a path that cannot be read; ``str`` says where."""


@functools.lru_cache(maxsize=1024)
def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """Return a function from an object to the values at the path. Raises :class:`InvalidPath`."""
    steps: list[Step] = []
    path = text.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1]
    if path.startswith("$"):
        path = path[1:]
    if path and path[0] not in ".[":
        path = "." + path
    position = 0
    while position < len(path):
        match = _TOKEN.match(path, position)
        if match is None:
            raise InvalidPath(f"cannot read the path {text!r} at {path[position:]!r}")
        steps.append(_step(match))
        position = match.end()

    def find(obj: Any) -> list[Any]:
        values = [obj]
        for step in steps:
            values = step(values)
        return values

    return find


def simple_path(text: str) -> tuple[str, ...]:
    """Return the field names of a path that has nothing but fields. Raises :class:`InvalidPath`."""
    names: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or not (match["field"] or match["name"]):
            raise InvalidPath(f"{text!r} must be a path of fields, as .spec.replicas")
        names.append(match["field"] or match["name"])
        position = match.end()
    if not names:
        raise InvalidPath("the path is empty")
    return tuple(names)


def _step(match: re.Match[str]) -> Step:
    if match["field"] or match["name"] is not None:
        name = re.sub(r"\\(.)", r"\1", match["field"] or match["name"])
        return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]
    if match["index"]:
        index = int(match["index"])
        return lambda values: [
            value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)
        ]
    if match["slice"]:
        start, _, stop = match["slice"].partition(":")
        span = slice(int(start) if start.strip() else None, int(stop) if stop.strip() else None)
        return lambda values: [child for value in values if isinstance(value, list) for child in value[span]]
    if match["all"]:
        return lambda values: [child for value in values for child in _children(value)]
    left = compile_path(match["left"])
    right = _literal(match["right"])
    equal = match["operator"] == "=="
    return lambda values: [
        child for value in values for child in _children(value) if (left(child) == [right]) is equal
    ]


def _literal(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] in "\"'" else int(text)


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    return value.values() if isinstance(value, dict) else ()
