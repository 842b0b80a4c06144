"""Reading a JSON body of a built-in kind the way Go's decoder and encoder do together.

Clients of the built-in kinds rely on it: null is absent, unknown fields are dropped (and reported), a zero
that Go cannot tell from absent vanishes, quantities are written in canonical form, a wrong type is a bad
request. Custom resources are read by their own schemas instead.

Converters are closures made on first use of a definition. The fast pass only notices that something is
wrong; a slow second pass over the same body then finds out where.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from hortator.apimachinery.meta import micro_time, parse_time, rfc3339
from hortator.apimachinery.quantity import InvalidQuantity
from hortator.apimachinery.quantity import parse as parse_quantity

__all__ = ["DecodeError", "Decoder"]

POINTER, KEEP, INLINE = 4, 8, 16

Convert = Callable[[Any, list[bool]], Any]
Field = tuple[int, str, str, int]

INTEGER_LIMITS = {"int32": 2**31, "int64": 2**63}
MISSING = object()


class DecodeError(Exception):
    """A body that does not fit its kind; the message is upstream's, without naming the kind."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class _Mismatch(Exception):
    """The value does not fit; ``args[0]`` overrides the usual words."""


class Decoder:
    """Converters for the definitions of one table."""

    def __init__(
        self, definition: Callable[[str], dict[str, Any]], message: Callable[[str], list[Field]]
    ) -> None:
        self._definition = definition
        self._message = message
        self._converters: dict[str, Convert] = {}

    def decode(self, name: str, body: Any) -> tuple[dict[str, Any], list[str]]:
        """Return the object and the paths of unknown fields. Raises DecodeError."""
        unknown: list[bool] = []
        try:
            result = self._named(name)(body, unknown)
        except _Mismatch as error:
            self._explain(name, body)
            raise DecodeError(str(error) or "json: cannot unmarshal the body") from error
        paths = list(self._unknown({"$ref": name}, body, "")) if unknown else []
        return result, paths

    # --- the fast pass ----------------------------------------------------------------------------

    def _named(self, name: str) -> Convert:
        found = self._converters.get(name)
        if found is None:

            def late(value: Any, unknown: list[bool]) -> Any:
                return self._converters[name](value, unknown)

            self._converters[name] = late  # for definitions that contain themselves
            found = self._converters[name] = self._compile(name, self._definition(name))
        return found

    def _node(self, node: dict[str, Any]) -> Convert:
        reference = node.get("$ref")
        if reference is not None:
            return self._late(reference)
        return self._compile("", node)

    def _late(self, name: str) -> Convert:
        """Return a converter that compiles its definition when the first value comes."""
        converters = self._converters

        def convert(value: Any, unknown: list[bool]) -> Any:
            found = converters.get(name)
            return (found or self._named(name))(value, unknown)

        return convert

    def _compile(self, name: str, node: dict[str, Any]) -> Convert:
        if node.get("x-kubernetes-int-or-string"):
            return _quantity if node["format"] == "quantity" else _int_or_string
        if node.get("x-kubernetes-preserve-unknown-fields") and "properties" not in node:
            return _opaque_object if node.get("type") == "object" else _opaque
        kind = node.get("type")
        if kind == "object":
            if "additionalProperties" in node:
                return self._map(node["additionalProperties"])
            return self._struct(name, node)
        if kind == "array":
            return self._list(node["items"])
        return _scalar(name, node)

    def _map(self, node: dict[str, Any]) -> Convert:
        inner = self._node(node)
        zero = self._zero(node)

        def convert(value: Any, unknown: list[bool]) -> Any:
            if not isinstance(value, dict):
                raise _Mismatch
            return {k: zero if v is None else inner(v, unknown) for k, v in value.items()}

        return convert

    def _list(self, node: dict[str, Any]) -> Convert:
        inner = self._node(node)
        zero = self._zero(node)

        def convert(value: Any, unknown: list[bool]) -> Any:
            if not isinstance(value, list):
                raise _Mismatch
            return [zero if v is None else inner(v, unknown) for v in value]

        return convert

    def _struct(self, name: str, node: dict[str, Any]) -> Convert:
        properties = node.get("properties", {})
        flags = dict(self._flags(name)) if name else {}
        fields: dict[str, tuple[Convert, bool]] = {}
        for key, child in properties.items():
            target = self._definition(child["$ref"]) if "$ref" in child else child
            is_struct = target.get("type") == "object" and "additionalProperties" not in target
            droppable = not flags.get(key, KEEP) & (POINTER | KEEP) and not is_struct
            fields[key] = (self._node(child), droppable)

        def convert(value: Any, unknown: list[bool]) -> Any:
            if not isinstance(value, dict):
                raise _Mismatch
            result = {}
            for key, item in value.items():
                field = fields.get(key)
                if field is None:
                    unknown.append(True)
                elif item is not None:
                    converted = field[0](item, unknown)
                    if converted or not field[1]:
                        result[key] = converted
            return result

        return convert

    def _flags(self, name: str) -> Iterator[tuple[str, int]]:
        try:
            fields = self._message(name)
        except KeyError:
            return
        for _, key, kind, flags in fields:
            if flags & INLINE:
                yield from self._flags(kind)
            else:
                yield key, flags

    def _zero(self, node: dict[str, Any]) -> Any:
        """Return what Go holds for a null in a list or map of such values."""
        node = self._definition(node["$ref"]) if "$ref" in node else node
        if node.get("format") == "quantity":
            return "0"
        if node.get("x-kubernetes-preserve-unknown-fields"):
            return None
        return {"string": "", "integer": 0, "number": 0, "boolean": False, "array": []}.get(
            node.get("type", ""), {}
        )

    # --- the slow pass ----------------------------------------------------------------------------

    def _unknown(self, node: dict[str, Any], value: Any, path: str) -> Iterator[str]:
        node = self._definition(node["$ref"]) if "$ref" in node else node
        if isinstance(value, list) and "items" in node:
            for index, item in enumerate(value):
                yield from self._unknown(node["items"], item, f"{path}[{index}]")
        elif isinstance(value, dict) and "additionalProperties" in node:
            for key, item in value.items():
                yield from self._unknown(node["additionalProperties"], item, f"{path}.{key}")
        elif isinstance(value, dict) and "x-kubernetes-preserve-unknown-fields" not in node:
            properties = node.get("properties", {})
            for key, item in value.items():
                inner = f"{path}.{key}" if path else key
                if key not in properties:
                    yield inner
                else:
                    yield from self._unknown(properties[key], item, inner)

    def _explain(self, name: str, body: Any) -> None:
        """Raise the DecodeError for the first value that does not fit; return if there is none."""
        self._explain_node({"$ref": name}, body, [], "")

    def _explain_node(self, node: dict[str, Any], value: Any, path: list[str], struct: str) -> None:
        if value is None:
            return
        try:
            self._node(node)(value, [])
            return
        except _Mismatch as error:
            words = str(error)
        outer = node
        reference = node.get("$ref", "")
        node = self._definition(reference) if reference else node
        if isinstance(value, list) and "items" in node:
            for item in value:
                self._explain_node(node["items"], item, path, struct)
        elif isinstance(value, dict) and "additionalProperties" in node:
            for item in value.values():
                self._explain_node(node["additionalProperties"], item, path, struct)
        elif isinstance(value, dict) and "properties" in node:
            inner = reference.rpartition(".")[2] or struct
            for key, item in value.items():
                if key in node["properties"]:
                    self._explain_node(node["properties"][key], item, [*path, key], inner)
        if words:
            raise DecodeError(words)
        where = f"Go struct field {struct}.{'.'.join(path)}" if path else "Go value"
        raise DecodeError(
            f"json: cannot unmarshal {_json_kind(value)} into {where} of type {self._go_type(outer)}"
        )

    def _go_type(self, node: dict[str, Any]) -> str:
        if "$ref" in node:
            package, _, name = node["$ref"].rpartition(".")
            return f"{package.rpartition('.')[2]}.{name}"
        kind = node.get("type", "")
        if kind == "array":
            return f"[]{self._go_type(node['items'])}"
        if kind == "object" and "additionalProperties" in node:
            return f"map[string]{self._go_type(node['additionalProperties'])}"
        if kind == "integer":
            return str(node.get("format", "int64"))
        return {"boolean": "bool", "number": "float64"}.get(kind, kind or "interface {}")


def _scalar(name: str, node: dict[str, Any]) -> Convert:
    kind, form = node.get("type"), node.get("format")
    if kind == "string":
        if form == "byte":
            return _bytes
        if form == "date-time":
            return _time(micro_time if name.endswith(".MicroTime") else rfc3339)
        return _string
    if kind == "boolean":
        return _boolean
    if kind == "integer":
        limit = INTEGER_LIMITS.get(str(form), 2**63)

        def integer(value: Any, _: list[bool]) -> Any:
            if type(value) is not int or not -limit <= value < limit:
                raise _Mismatch
            return value

        return integer
    return _number


def _string(value: Any, _: list[bool]) -> Any:
    if not isinstance(value, str):
        raise _Mismatch
    return value


def _boolean(value: Any, _: list[bool]) -> Any:
    if not isinstance(value, bool):
        raise _Mismatch
    return value


def _number(value: Any, _: list[bool]) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Mismatch
    return value


def _opaque(value: Any, _: list[bool]) -> Any:
    return value


def _opaque_object(value: Any, _: list[bool]) -> Any:
    if not isinstance(value, dict):
        raise _Mismatch
    return value


def _int_or_string(value: Any, _: list[bool]) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _Mismatch
    return value


def _quantity(value: Any, _: list[bool]) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _Mismatch
    try:
        return str(parse_quantity(value))
    except InvalidQuantity as error:
        raise _Mismatch(str(error)) from error


def _bytes(value: Any, _: list[bool]) -> Any:
    if not isinstance(value, str):
        raise _Mismatch
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except binascii.Error as error:
        raise _Mismatch("illegal base64 data at input byte 0") from error
    return value


def _time(write: Callable[[datetime], str]) -> Convert:
    """Return a converter of RFC 3339 times, which become UTC in the precision of their type."""

    def convert(value: Any, _: list[bool]) -> Any:
        if not isinstance(value, str):
            raise _Mismatch
        try:
            return write(parse_time(value))
        except (ValueError, OverflowError) as error:
            raise _Mismatch(
                f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"'
            ) from error

    return convert


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
