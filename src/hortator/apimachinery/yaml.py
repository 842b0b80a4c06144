"""YAML as Kubernetes' tools read it, and YAML that they read back unchanged.

Reading gives what JSON could have said: keys are text, ``1e3`` is the number 1000, there are no dates and no
base-60 numbers, a repeated key is an error (``sigs.k8s.io/yaml`` 1.6, strict). What could be abused
is limited: nesting, and what aliases expand to. Files are left to the caller.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from hortator.apimachinery.nesting import MAXIMUM_DEPTH, too_deep

__all__ = ["YamlError", "dump", "load_all"]

#: Nodes that aliases may stand for in one text, all together.
MAXIMUM_ALIASED = 100_000


class YamlError(ValueError):
    """A text that is not acceptable YAML. ``line`` counts from 1; ``source`` is what the caller named it."""

    def __init__(self, message: str, *, line: int, source: str = ""):
        super().__init__(message)
        self.message = message
        self.line = line
        self.source = source

    def __str__(self) -> str:
        return (
            f"{self.source}:{self.line}: {self.message}"
            if self.source
            else f"line {self.line}: {self.message}"
        )


_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_BASED = re.compile(r"([-+]?)0(?:[xX]([0-9a-fA-F]+)|[bB]([01]+)|[oO]?([0-7]+))", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TOO_DEEP = f"nested more than {MAXIMUM_DEPTH} levels deep"
_TAG = "tag:yaml.org,2002:"


def _number(text: str) -> int | float | None:
    """Return the number that a plain scalar is, or None. Numbers beyond 64 bits are floats, as in Go."""
    plain = text.replace("_", "") if text[0] not in "._" else text
    if _DECIMAL.fullmatch(plain):
        value = int(plain) if len(plain) < 24 else 2**64
        return value if -(2**63) <= value < 2**64 else _float(plain)
    if based := _BASED.fullmatch(plain):
        sign, hexadecimal, binary, octal = based.groups()
        digits, base = (hexadecimal, 16) if hexadecimal else (binary, 2) if binary else (octal, 8)
        value = int(digits, base)
        value = -value if sign == "-" else value
        return value if -(2**63) <= value < 2**64 else None
    return _float(plain) if _FLOAT.fullmatch(plain) else None


def _float(text: str) -> int | float | None:
    value = float(text)
    if math.isinf(value):
        return None
    # Go writes such a float to JSON without a point, so an integer arrives.
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _plain(text: str) -> Any:
    """Return the value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "0123456789+-.":
        if _SPECIAL.fullmatch(text):
            raise ValueError(f"{text} is not a value that JSON has")
        if (number := _number(text)) is not None:
            return number
    return text


def _tagged(tag: str, text: str) -> Any:
    kind = tag.removeprefix(_TAG)
    if kind in ("str", "!", "binary") or tag == "!":
        return text
    value = _plain(text)
    matching: dict[str, Any] = {
        "int": int,
        "float": (int, float),
        "bool": bool,
        "null": type(None),
        "timestamp": str,
    }
    if kind not in matching:
        raise ValueError(f"unknown tag {tag}")
    if not isinstance(value, matching[kind]) or (kind != "bool" and isinstance(value, bool)):
        raise ValueError(f"cannot read {text!r} as !!{kind}")
    return value


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        return str(value)
    raise ValueError("a key must be text, a number or a boolean")


class _Open:
    """A list or map that is being read. ``key`` is _NO_KEY while a map waits for its next key."""

    __slots__ = ("anchor", "key", "merges", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None):
        self.value = value
        self.anchor = anchor
        self.key: Any = _NO_KEY
        self.merges: list[Any] = []
        self.size = 1


_NO_KEY = object()
_MERGE = object()


class _Builder:
    """Makes values from parse events, with a stack of its own, so that depth is a number and not a crash."""

    def __init__(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.aliased = 0
        self.result: Any = None

    def open(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        if len(self.stack) >= MAXIMUM_DEPTH:
            raise ValueError(_TOO_DEEP)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is _NO_KEY:
            raise ValueError("a key must be text, a number or a boolean")
        if anchor:
            self.anchors.pop(anchor, None)
        self.stack.append(_Open(value, anchor))

    def close(self) -> None:
        done = self.stack.pop()
        if isinstance(done.value, dict):
            for source in done.merges:
                for key, value in source.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self.anchors[done.anchor] = (done.value, done.size)
        self.add(done.value, done.size)

    def alias(self, anchor: str) -> None:
        if anchor not in self.anchors:
            raise ValueError(f"unknown anchor '{anchor}', or one that contains itself")
        value, size = self.anchors[anchor]
        self.aliased += size
        if self.aliased > MAXIMUM_ALIASED:
            raise ValueError(f"aliases stand for more than {MAXIMUM_ALIASED} values")
        self.add(value, size)

    def scalar(self, value: Any, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = (value, 1)
        self.add(value, 1)

    def add(self, value: Any, size: int) -> None:
        if not self.stack:
            self.result = value
            return
        top = self.stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is _NO_KEY:
            top.key = _MERGE if value is _MERGE else _key(value)
            if top.key in top.value:
                raise ValueError(f'key "{top.key}" already set in map')
        elif top.key is _MERGE:
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise ValueError("map merge requires map or sequence of maps as the value")
            top.merges += sources
            top.key = _NO_KEY
        else:
            top.value[top.key] = value
            top.key = _NO_KEY

    def event(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            text = event.value
            waits = (
                bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is _NO_KEY
            )
            if event.tag:
                value = _tagged(event.tag, text)
            elif not event.implicit[0]:
                value = text
            elif text == "<<" and waits:
                value = _MERGE
            else:
                value = _plain(text)
            self.scalar(value, event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self.open({}, event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.open([], event.anchor)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.close()
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event.anchor or "")


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _RepeatedKey(key)
        result[key] = value
    return result


class _RepeatedKey(ValueError):
    def __init__(self, key: str):
        super().__init__(f'key "{key}" already set in map')


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a value that JSON has")


def _load_json(text: str) -> list[Any] | None:
    """Read a stream of JSON values; None when it is not JSON (YAML's flow style begins alike)."""
    decoder = json.JSONDecoder(object_pairs_hook=_json_object, parse_constant=_constant)
    values, position = [], 0
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError):
            return None
        values.append(value)
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
    return values


def load_all(data: str | bytes, source: str = "") -> Iterator[Any]:
    """Yield the documents of a YAML or JSON text, leaving out empty ones.

    ``source`` names the text in errors. Raises YamlError when a document is reached that cannot be read.
    """
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise YamlError("the text is not UTF-8", line=line, source=source) from error
    else:
        text = data.removeprefix("\ufeff")
    stripped = text.lstrip()
    if stripped.startswith("{"):
        try:
            values = _load_json(stripped)
        except ValueError as error:
            raise YamlError(str(error), line=1, source=source) from error
        if values is not None:
            if any(map(too_deep, values)):
                raise YamlError(_TOO_DEEP, line=1, source=source)
            yield from values
            return
    builder = _Builder()
    line = 1
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            line = event.start_mark.line + 1 if event.start_mark else line
            if isinstance(event, yaml.DocumentStartEvent):
                builder = _Builder()
            elif isinstance(event, yaml.DocumentEndEvent):
                if builder.result is not None:
                    yield builder.result
            else:
                builder.event(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        text = error.problem or "cannot be read"
        raise YamlError(text, line=mark.line + 1 if mark else line, source=source) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error).splitlines()[0], line=line, source=source) from error
    except ValueError as error:
        raise YamlError(str(error), line=line, source=source) from error


class _Dumper(yaml.CSafeDumper):
    """Writes block style, long lines unbroken, no aliases, several lines of text as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    lines = "\n" in text and not any(line != line.rstrip() for line in text.split("\n")) and "\t" not in text
    return dumper.represent_scalar(_TAG + "str", text, style="|" if lines else None)


_Dumper.add_representer(str, _text)
# What any reader might take for something else than text, ours or another's, gets quotes.
_Dumper.add_implicit_resolver(
    _TAG + "float",
    re.compile(rf"(?:{_FLOAT.pattern}|{_BASED.pattern}|[-+]?[0-9][0-9_]*|\.[0-9][0-9_]*)$"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver(_TAG + "bool", re.compile(r"[yYnN]$"), list("yYnN"))


def dump(obj: Any) -> str:
    """Write a value as YAML, keys in the order they have. Text that looks like another type is quoted."""
    return yaml.dump(
        obj, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1_000_000
    )
