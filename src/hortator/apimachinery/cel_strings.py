"""The functions of CEL on text: searching, cutting, joining, formatting, regular expressions (RE2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hortator.apimachinery.cel_library import check_text, function, method, pattern, to_text, wants
from hortator.apimachinery.cel_values import CelError, CelType, Meter
from hortator.apimachinery.fielderrors import go_quote

__all__: list[str] = []


def _simple(name: str, body: Callable[..., Any]) -> None:
    count = body.__code__.co_argcount

    def run(meter: Meter, *args: Any) -> Any:
        check_text(meter, *args)
        return body(*args)

    method(name, count - 1)(run)


_simple("startsWith", lambda text, prefix: text.startswith(prefix))
_simple("endsWith", lambda text, suffix: text.endswith(suffix))
_simple("contains", lambda text, part: part in text)
_simple("trim", lambda text: text.strip())
_simple("lowerAscii", lambda text: re.sub("[A-Z]+", lambda match: match[0].lower(), text))
_simple("upperAscii", lambda text: re.sub("[a-z]+", lambda match: match[0].upper(), text))


@function("strings.quote", 1)
def _quote(meter: Meter, text: Any) -> str:
    check_text(meter, text)
    return go_quote(text)


@function("matches", 2)
@method("matches", 1)
def _matches(meter: Meter, text: Any, expression: Any) -> bool:
    wants(text, str)
    wants(expression, str)
    meter.spend(1 + len(text) * (1 + len(expression) // 4) // 16)
    return pattern(expression).search(text) is not None


@method("find", 1)
def _find(meter: Meter, text: Any, expression: Any) -> str:
    wants(text, str)
    wants(expression, str)
    meter.spend(1 + len(text) * (1 + len(expression) // 4) // 16)
    match = pattern(expression).search(text)
    return str(match.group(0)) if match else ""


@method("findAll", 1, 2)
def _find_all(meter: Meter, text: Any, expression: Any, limit: Any = -1) -> list[str]:
    wants(text, str)
    wants(expression, str)
    wants(limit, int)
    meter.spend(1 + len(text) * (1 + len(expression) // 4) // 4)
    found = [str(match.group(0)) for match in pattern(expression).finditer(text)]
    return found if limit < 0 else found[:limit]


@method("charAt", 1)
def _char_at(_: Meter, text: Any, index: Any) -> str:
    wants(text, str)
    wants(index, int)
    if not 0 <= index <= len(text):
        raise CelError(f"index out of range: {index}")
    return str(text[index : index + 1])


@method("substring", 1, 2)
def _substring(meter: Meter, text: Any, start: Any, end: Any = None) -> str:
    check_text(meter, text)
    wants(start, int)
    end = len(text) if end is None else end
    wants(end, int)
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    if not 0 <= end <= len(text):
        raise CelError(f"index out of range: {end}")
    if start > end:
        raise CelError(f"invalid substring range. start: {start}, end: {end}")
    return str(text[start:end])


@method("replace", 2, 3)
def _replace(meter: Meter, text: Any, old: Any, new: Any, limit: Any = -1) -> str:
    check_text(meter, text, old, new)
    wants(limit, int)
    count = text.count(old)
    meter.spend((count if limit < 0 else min(count, limit)) * (1 + len(new) // 32))
    return str(text.replace(old, new, limit))


@method("split", 1, 2)
def _split(meter: Meter, text: Any, separator: Any, limit: Any = -1) -> list[str]:
    check_text(meter, text, separator)
    wants(limit, int)
    meter.spend(len(text) // 4)
    if limit == 0:
        return []
    if not separator:
        parts = list(text)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], text[limit - 1 :]]
    return list(text.split(separator, -1 if limit < 0 else limit - 1))


@method("join", 0, 1)
def _join(meter: Meter, parts: Any, separator: Any = "") -> str:
    wants(parts, list)
    wants(separator, str)
    for part in parts:
        wants(part, str)
    meter.spend(1 + len(parts) * (1 + len(separator) // 32) + sum(map(len, parts)) // 32)
    return str(separator.join(parts))


_VERB = re.compile(r"%(?:\.([0-9]{1,3}))?(.?)", re.DOTALL)


@method("format", 1)
def _format(meter: Meter, text: Any, values: Any) -> str:
    wants(text, str)
    wants(values, list)
    meter.spend(1 + len(text) // 8 + len(values))
    remaining = iter(values)

    def replace(match: re.Match[str]) -> str:
        precision, verb = match[1], match[2]
        if verb == "%" and precision is None:
            return "%"
        if verb not in ("s", "d", "f", "e", "x", "X", "b", "o"):
            raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{verb}"')
        value = next(remaining, _MISSING)
        if value is _MISSING:
            raise CelError("index out of range in the arguments of format")
        written = _verb(meter, verb, precision, value)
        meter.spend(1 + len(written) // 32)
        return written

    return str(_VERB.sub(replace, text))


_MISSING = object()


def _verb(meter: Meter, verb: str, precision: str | None, value: Any) -> str:
    if verb == "s":
        return _shown(meter, value)
    if verb == "d":
        wants(value, int)
        return str(value)
    if verb in "fe":
        wants(value, int, float)
        digits = 6 if precision is None else int(precision)
        return f"{float(value):.{digits}{verb}}"
    if verb in "xX":
        wants(value, int, str, bytes)
        raw = value.encode() if isinstance(value, str) else value
        written = f"{raw:x}" if isinstance(raw, int) else raw.hex()
        return written.upper() if verb == "X" else written
    if isinstance(value, bool) and verb == "b":
        return "1" if value else "0"
    wants(value, int)
    return f"{value:{verb}}"


def _shown(meter: Meter, value: Any) -> str:
    meter.spend(1)
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(meter, each) for each in value) + "]"
    if isinstance(value, dict):
        entries = sorted((_shown(meter, key), _shown(meter, each)) for key, each in value.items())
        return "{" + ", ".join(f"{key}: {each}" for key, each in entries) + "}"
    if isinstance(value, CelType):
        return value.name
    return str(to_text(meter, value))
