"""One value that breaks a rule: which field, what was found, what is allowed.

Words, kinds and punctuation are those of ``k8s.io/apimachinery/pkg/util/validation/field`` (v0.36), because
clients print them and tests of other operators compare them. Collecting the errors of a request into an
answer is left to :mod:`hortator.apimachinery.status`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

__all__ = [
    "OMITTED",
    "ErrorKind",
    "FieldError",
    "Path",
    "aggregate",
    "duplicate",
    "forbidden",
    "go_float",
    "go_quote",
    "immutable",
    "internal",
    "invalid",
    "not_found",
    "not_supported",
    "required",
    "too_few",
    "too_long",
    "too_many",
    "too_short",
    "type_invalid",
    "unknown",
]


class ErrorKind(StrEnum):
    """The kinds of field errors; the value is the ``reason`` of a Status cause."""

    NOT_FOUND = "FieldValueNotFound"
    REQUIRED = "FieldValueRequired"
    DUPLICATE = "FieldValueDuplicate"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    FORBIDDEN = "FieldValueForbidden"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    TOO_FEW = "FieldValueTooFew"
    TOO_SHORT = "FieldValueTooShort"
    TYPE_INVALID = "FieldValueTypeInvalid"
    INTERNAL = "InternalError"


_WORDS = {
    ErrorKind.NOT_FOUND: "Not found",
    ErrorKind.REQUIRED: "Required value",
    ErrorKind.DUPLICATE: "Duplicate value",
    ErrorKind.INVALID: "Invalid value",
    ErrorKind.NOT_SUPPORTED: "Unsupported value",
    ErrorKind.FORBIDDEN: "Forbidden",
    ErrorKind.TOO_LONG: "Too long",
    ErrorKind.TOO_MANY: "Too many",
    ErrorKind.TOO_FEW: "Too few",
    ErrorKind.TOO_SHORT: "Too short",
    ErrorKind.TYPE_INVALID: "Invalid value",
    ErrorKind.INTERNAL: "Internal error",
}

#: Kinds whose message does not repeat the value.
_WITHOUT_VALUE = frozenset(
    (ErrorKind.REQUIRED, ErrorKind.FORBIDDEN, ErrorKind.TOO_LONG, ErrorKind.TOO_SHORT, ErrorKind.INTERNAL)
)


@dataclass(frozen=True, slots=True)
class Path:
    """The way from an object's root to a field. Immutable; ``str()`` prints ``spec.containers[0].name``.

    ``Path()`` is the root itself and prints as ``<nil>``, as upstream prints a missing path.
    """

    text: str = ""

    def child(self, *names: str) -> Path:
        """Return the path of a field of this object (or of its field's field, for several names)."""
        text = self.text
        for name in names:
            text = f"{text}.{name}" if text else name
        return Path(text)

    def index(self, index: int) -> Path:
        """Return the path of an item of this list."""
        return Path(f"{self.text}[{index}]")

    def key(self, key: str) -> Path:
        """Return the path of an entry of this map, where keys are data and not field names."""
        return Path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text or "<nil>"


_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def go_quote(text: str) -> str:
    """Quote a string as Go's ``%q`` does, which upstream uses in its messages."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = []
    for character in text:
        code = ord(character)
        if code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif character.isprintable():
            out.append(character)
        elif code < 0x80:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def go_float(value: float) -> str:
    """Write a float as Go's shortest ``%g`` does: ``1e+06``, ``0.5``, ``-3``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, _ = Decimal(repr(value)).as_tuple()
    prefix = "-" if sign else ""
    text = "".join(map(str, digits)).rstrip("0")
    if not text:
        return f"{prefix}0"
    exponent = Decimal(repr(value)).adjusted()
    if exponent < -4 or exponent > 5:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{prefix}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{prefix}0.{'0' * (-exponent - 1)}{text}"
    whole = text[: exponent + 1].ljust(exponent + 1, "0")
    return prefix + whole + ("." + text[exponent + 1 :] if len(text) > exponent + 1 else "")


def _go_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, int):
        return str(value)
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError):
        return go_quote(str(value))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Omitted:
    """The type of :data:`OMITTED`."""


#: A value that messages leave out.
OMITTED = _Omitted()


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule. ``str()`` is upstream's sentence: ``path: words: value: detail``."""

    kind: ErrorKind
    path: Path
    value: Any = ""
    detail: str = ""

    @property
    def body(self) -> str:
        """The message without the field's path, as a Status cause carries it."""
        text = _WORDS[self.kind]
        if self.kind not in _WITHOUT_VALUE and self.value is not OMITTED:
            text += f": {_go_value(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.path}: {self.body}"

    def to_cause(self) -> dict[str, str]:
        """Return the error as a ``StatusCause``: reason, message and field."""
        return {"reason": self.kind.value, "message": self.body, "field": str(self.path)}


def _path(path: Path | str) -> Path:
    return path if isinstance(path, Path) else Path(path)


def required(path: Path | str, detail: str = "") -> FieldError:
    """A value must be there and is not (absent, empty or null)."""
    return FieldError(ErrorKind.REQUIRED, _path(path), "", detail)


def invalid(path: Path | str, value: Any, detail: str = "") -> FieldError:
    """A value breaks a rule; ``detail`` says which."""
    return FieldError(ErrorKind.INVALID, _path(path), value, detail)


def type_invalid(path: Path | str, value: Any, detail: str = "") -> FieldError:
    """A value has the wrong type."""
    return FieldError(ErrorKind.TYPE_INVALID, _path(path), value, detail)


def not_supported(path: Path | str, value: Any, allowed: Iterable[str] = ()) -> FieldError:
    """A value is none of those allowed, which the message lists in the order given."""
    values = ", ".join(go_quote(str(each)) for each in allowed)
    return FieldError(
        ErrorKind.NOT_SUPPORTED, _path(path), value, f"supported values: {values}" if values else ""
    )


def forbidden(path: Path | str, detail: str = "") -> FieldError:
    """A value may not be set here or now."""
    return FieldError(ErrorKind.FORBIDDEN, _path(path), "", detail)


def duplicate(path: Path | str, value: Any) -> FieldError:
    """A value that must be unique appears again."""
    return FieldError(ErrorKind.DUPLICATE, _path(path), value)


def not_found(path: Path | str, value: Any) -> FieldError:
    """A value names something that does not exist."""
    return FieldError(ErrorKind.NOT_FOUND, _path(path), value)


def unknown(path: Path | str) -> FieldError:
    """A field is not part of the type (strict field validation)."""
    return FieldError(ErrorKind.INVALID, _path(path), OMITTED, "unknown field")


def _count(number: int, singular: str) -> str:
    return f"{number} {singular}" if number == 1 else f"{number} {singular}s"


def too_long(path: Path | str, maximum: int, unit: str = "byte") -> FieldError:
    """A text has more than ``maximum`` units (``byte`` or ``character``)."""
    return FieldError(ErrorKind.TOO_LONG, _path(path), "", f"may not be more than {_count(maximum, unit)}")


def too_short(path: Path | str, value: str, minimum: int) -> FieldError:
    """A text has fewer than ``minimum`` characters."""
    return FieldError(
        ErrorKind.TOO_SHORT, _path(path), value, f"must be at least {_count(minimum, 'character')}"
    )


def too_many(path: Path | str, actual: int, maximum: int) -> FieldError:
    """A list or map has more than ``maximum`` items."""
    return FieldError(ErrorKind.TOO_MANY, _path(path), actual, f"must have at most {_count(maximum, 'item')}")


def too_few(path: Path | str, actual: int, minimum: int) -> FieldError:
    """A list or map has fewer than ``minimum`` items."""
    return FieldError(ErrorKind.TOO_FEW, _path(path), actual, f"must have at least {_count(minimum, 'item')}")


def immutable(path: Path | str, value: Any) -> FieldError:
    """A value was changed that may not change after creation."""
    return FieldError(ErrorKind.INVALID, _path(path), value, "field is immutable")


def internal(path: Path | str, detail: str) -> FieldError:
    """Checking failed for a reason that is not the user's."""
    return FieldError(ErrorKind.INTERNAL, _path(path), "", detail)


def aggregate(errors: Sequence[object]) -> str:
    """Join errors as upstream's aggregate prints them: one plainly, several in brackets, repeats once."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
