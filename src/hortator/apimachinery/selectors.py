"""Label and field selectors: reading, writing and matching them.

Syntax, messages and meaning are those of ``k8s.io/apimachinery/pkg/labels`` and ``pkg/fields`` (v0.36). Which
fields a resource can be selected by is left to whoever serves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery.fielderrors import Path, aggregate, go_quote, invalid
from hortator.apimachinery.names import label_value, qualified_name

__all__ = ["FieldRequirement", "FieldSelector", "InvalidSelector", "LabelSelector", "Requirement"]


class InvalidSelector(ValueError):
    """A selector that cannot be read; the message says where."""


_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_WRITTEN = {"=": "=", "==": "==", "!=": "!=", "gt": ">", "lt": "<"}


def _integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. ``operator`` is one of = == != in notin exists ! gt lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether the labels fulfil this condition."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                number = None if value is None else _integer(value)
                bound = _integer(self.values[0])
                if number is None or bound is None:
                    return False
                return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return f"{self.key}{_WRITTEN[self.operator]}{self.values[0]}"


def _requirement(key: str, operator: str, values: Sequence[str]) -> Requirement:
    path = Path()
    errors = []
    if messages := qualified_name(key):
        errors.append(invalid(path.child("key"), key, "; ".join(messages)))
    values_path = path.child("values")
    if operator in ("in", "notin") and not values:
        detail = "for 'in', 'notin' operators, values set can't be empty"
        errors.append(invalid(values_path, list(values), detail))
    if operator in ("exists", "!") and values:
        detail = "values set must be empty for exists and does not exist"
        errors.append(invalid(values_path, list(values), detail))
    for index, value in enumerate(values):
        if operator in ("gt", "lt") and _integer(value) is None:
            detail = "for 'Gt', 'Lt' operators, the value must be an integer"
            errors.append(invalid(values_path.index(index), value, detail))
        if messages := label_value(value):
            errors.append(invalid(values_path.index(index).key(key), value, "; ".join(messages)))
    if errors:
        raise InvalidSelector(aggregate(errors))
    return Requirement(key, operator, tuple(dict.fromkeys(values)))


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions on labels, all of which must hold. Without conditions it matches everything."""

    requirements: tuple[Requirement, ...] = ()
    #: Matches no object at all: what an absent selector means in an object (``from_object(None)``).
    nothing: bool = False

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Read ``a=b,c!=d,e in (f,g),!h``. "" matches everything. Raises InvalidSelector."""
        return cls(tuple(sorted(_Parser(text).parse(), key=lambda each: each.key)))

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> LabelSelector:
        """Return the selector of objects that have all these labels. Raises InvalidSelector."""
        return cls(tuple(_requirement(key, "=", [labels[key]]) for key in sorted(labels)))

    @classmethod
    def from_object(cls, selector: Mapping[str, Any] | None) -> LabelSelector:
        """Read a ``metav1.LabelSelector``: None is nothing, ``{}`` everything. Raises InvalidSelector."""
        if selector is None:
            return cls(nothing=True)
        labels = selector.get("matchLabels") or {}
        requirements = [_requirement(key, "=", [value]) for key, value in labels.items()]
        words = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
        for expression in selector.get("matchExpressions") or ():
            operator = expression.get("operator") or ""
            if operator not in words:
                raise InvalidSelector(f"{go_quote(str(operator))} is not a valid label selector operator")
            values = expression.get("values") or []
            requirements.append(_requirement(expression.get("key") or "", words[operator], values))
        return cls(tuple(sorted(requirements, key=lambda each: each.key)))

    @property
    def empty(self) -> bool:
        """Whether the selector matches everything."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Say whether an object with these labels is selected."""
        if self.nothing:
            return False
        found = labels or {}
        return all(requirement.matches(found) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


#: Symbols that end a word; two-character ones first.
_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = {"in": "in", "notin": "notin", "=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt"}
_OPERATORS_TEXT = "in, notin, =, ==, !=, gt, lt"


class _Parser:
    """Recursive descent over the tokens; "" stands for the end."""

    def __init__(self, text: str):
        self.tokens = _TOKEN.findall(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def parse(self) -> Iterator[Requirement]:
        while token := self.peek():
            if token in _SYMBOLS and token != "!":  # noqa: S105 - a token of the grammar
                raise InvalidSelector(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                yield self.requirement()
            except InvalidSelector as error:
                raise InvalidSelector(f"unable to parse requirement: {error}") from error
            separator = self.next()
            if not separator:
                return
            if separator != ",":
                raise InvalidSelector(f"found '{separator}', expected: ',' or 'end of string'")
            following = self.peek()
            if not following or (following in _SYMBOLS and following != "!"):
                raise InvalidSelector(f"found '{following}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        key = self.next()
        absent = key == "!"
        if absent:
            key = self.next()
        if not key or key in _SYMBOLS:
            raise InvalidSelector(f"found '{key}', expected: identifier")
        if messages := qualified_name(key):
            raise InvalidSelector(str(invalid(Path(), key, "; ".join(messages))))
        if absent:
            return _requirement(key, "!", ())
        if self.peek() in ("", ","):
            return _requirement(key, "exists", ())
        token = self.next()
        operator = _OPERATORS.get(token)
        if operator is None:
            raise InvalidSelector(f"found '{token}', expected: {_OPERATORS_TEXT}")
        values = self.values() if operator in ("in", "notin") else [self.value()]
        return _requirement(key, operator, sorted(set(values)))

    def value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        token = self.next()
        if token in _SYMBOLS:
            raise InvalidSelector(f"found '{token}', expected: identifier")
        return token

    def values(self) -> list[str]:
        token = self.next()
        if token != "(":  # noqa: S105
            raise InvalidSelector(f"found '{token}' expected: '('")
        values = [""]
        while True:
            token = self.next()
            if token == ")":  # noqa: S105
                return values
            if token == ",":  # noqa: S105
                values.append("")
            elif values[-1]:
                raise InvalidSelector(f"found '{token}', expected: ',' or ')'")
            elif not token or token in _SYMBOLS:
                raise InvalidSelector(f"found '{token}', expected: ',', or identifier")
            else:
                values[-1] = token


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One condition on one field: it equals, or (``negated``) does not equal, a value."""

    field: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'!=' if self.negated else '='}{value}"


_FIELD_OPERATOR = re.compile(r"!=|==|=")


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions on fields, all of which must hold."""

    requirements: tuple[FieldRequirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """Read ``a=b,c!=d``; a backslash protects ``,``, ``=``, itself in values. Raises InvalidSelector."""
        requirements = []
        for term in sorted(_terms(text)):
            if not term:
                continue
            match = _FIELD_OPERATOR.search(term)
            if match is None:
                raise InvalidSelector(f"invalid selector: '{text}'; can't understand '{term}'")
            value = _unescape(term[match.end() :])
            requirements.append(FieldRequirement(term[: match.start()], value, match.group() == "!="))
        return cls(tuple(requirements))

    @property
    def empty(self) -> bool:
        """Whether the selector matches everything."""
        return not self.requirements

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Say whether an object with these selectable fields is selected; a missing field reads as ""."""
        return all((fields.get(each.field, "") == each.value) != each.negated for each in self.requirements)

    def exact(self, field: str) -> str | None:
        """Return the value that the field must have, if one is required."""
        return next(
            (each.value for each in self.requirements if each.field == field and not each.negated), None
        )

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def _terms(text: str) -> list[str]:
    terms, start, escaped = [], 0, False
    for index, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            terms.append(text[start:index])
            start = index + 1
    return [*terms, text[start:]]


def _unescape(text: str) -> str:
    out, characters = [], iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            if following not in ("\\", ",", "="):
                raise InvalidSelector(f"invalid field selector: invalid escape sequence: \\{following}")
            out.append(following)
        elif character in ",=":
            raise InvalidSelector(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            out.append(character)
    return "".join(out)
