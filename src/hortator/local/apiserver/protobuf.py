"""Reading protobuf request bodies: the envelope (``k8s\\0`` + ``runtime.Unknown``) and the messages of the
table.

Only reading: answers are JSON, which every client accepts. Go writes fields that are no pointers even when
they are zero, so a zero is dropped unless the Go field is a pointer (``replicas: 0``) or its JSON is
written without ``omitempty``; the table's flags say which.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

__all__ = ["MAGIC", "ProtobufError", "decode_envelope", "decode_message"]

MAGIC = b"k8s\x00"
REPEATED, MAP, POINTER, KEEP, INLINE = 1, 2, 4, 8, 16
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"

Field = tuple[int, str, str, int]
Messages = Callable[[str], list[Field]]


class ProtobufError(ValueError):
    """A body that is not what its content type says, or whose kind has no wire form here."""


def decode_envelope(
    body: bytes, definition_name: Callable[[str, str], str | None], messages: Messages
) -> dict[str, Any]:
    """Return the object in an enveloped body. Raises ProtobufError.

    ``definition_name`` maps (apiVersion, kind) to a message's name, ``messages`` a name to its fields.
    """
    if not body.startswith(MAGIC):
        raise ProtobufError(
            "provided data does not appear to be a protobuf message, expected prefix 'k8s\\0'"
        )
    api_version = kind = encoding = ""
    raw = b""
    for number, wire, value in _entries(memoryview(body)[len(MAGIC) :]):
        if wire != LENGTH:
            raise ProtobufError(f"proto: wrong wireType = {wire} for field {number} of Unknown")
        if number == 1:
            for inner, _, text in _entries(value):
                if inner == 1:
                    api_version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2:
            raw = bytes(value)
        elif number == 3:
            encoding = _text(value)
    if encoding:
        raise ProtobufError(f"content encoding {encoding!r} is not supported")
    name = definition_name(api_version, kind)
    try:
        fields = messages(name) if name else None
    except KeyError:
        fields = None
    if name is None or fields is None:
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
    result = {"apiVersion": api_version, "kind": kind}
    result.update(decode_message(raw, name, messages))
    return result


def decode_message(body: bytes | memoryview, name: str, messages: Messages) -> dict[str, Any]:
    """Return the JSON form of one message. Raises ProtobufError."""
    try:
        return _message(memoryview(body), name, messages)
    except (
        TypeError,
        struct.error,
        UnicodeDecodeError,
        msgspec.DecodeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ProtobufError(
            f"proto: {name.rpartition('.')[2]}: {error or 'unexpected end of message'}"
        ) from error


def _message(data: memoryview, name: str, messages: Messages) -> dict[str, Any]:
    fields = {field[0]: field for field in messages(name)}
    result: dict[str, Any] = {}
    for number, wire, value in _entries(data):
        field = fields.get(number)
        if field is None:
            continue  # a newer client's field; protobuf has no way to ask for strictness
        _, key, kind, flags = field
        if flags & INLINE:
            result.update(_message(_bytes_of(value, wire, number), kind, messages))
        elif flags & MAP:
            entry = {inner: item for inner, _, item in _entries(_bytes_of(value, wire, number))}
            item = (
                _value(entry[2], LENGTH if not isinstance(entry[2], int) else VARINT, kind, messages)
                if (2 in entry)
                else _zero(kind)
            )
            result.setdefault(key, {})[_text(entry.get(1, b""))] = item
        elif flags & REPEATED:
            items = result.setdefault(key, [])
            if wire == LENGTH and kind in "bid":  # packed
                items += _packed(value, kind)
            else:
                items.append(_value(value, wire, kind, messages))
        else:
            item = _value(value, wire, kind, messages)
            if isinstance(item, dict) and isinstance(result.get(key), dict):
                result[key].update(item)  # a message may come in pieces
            elif item is not None and (item or flags & (POINTER | KEEP)):
                result[key] = item
    return result


def _value(value: Any, wire: int, kind: str, messages: Messages) -> Any:
    """Return the JSON form of one value; None where it is Go's zero time."""
    if kind == "s":
        return _text(value)
    if kind == "i":
        return value - 2**64 if value >= 2**63 else value
    if kind == "b":
        return bool(value)
    if kind == "y":
        return base64.b64encode(value).decode()
    if kind == "d":
        (number,) = struct.unpack("<d", value)
        return int(number) if number.is_integer() else number
    special = SPECIAL.get(kind)
    data = _bytes_of(value, wire, 0)
    if special is not None:
        return special(data, messages)
    return _message(data, kind, messages)


def _zero(kind: str) -> Any:
    return {"s": "", "i": 0, "b": False, "y": "", "d": 0}.get(kind, "0" if kind.endswith(".Quantity") else {})


def _packed(value: Any, kind: str) -> list[Any]:
    data = memoryview(value)
    if kind == "d":
        return [number for (number,) in struct.iter_unpack("<d", data)]
    result, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        result.append(_value(number, VARINT, kind, _no_messages))
    return result


def _no_messages(name: str) -> list[Field]:
    raise KeyError(name)


def _bytes_of(value: Any, wire: int, number: int) -> memoryview:
    if wire != LENGTH:
        raise ProtobufError(f"proto: wrong wireType = {wire} for field {number}")
    return memoryview(value)


def _text(value: Any) -> str:
    if isinstance(value, int):
        raise ProtobufError("proto: wrong wireType = 0 for a string")
    return str(value, "utf-8")


def _entries(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield ``(field number, wire type, value)``; a value is an int for varints, else a view of its bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ProtobufError(f"proto: illegal tag {number} (wire type {wire})")
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == LENGTH:
            size, at = _varint(data, at)
        elif wire == FIXED64:
            size = 8
        elif wire == FIXED32:
            size = 4
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")
        if at + size > end:
            raise ProtobufError("unexpected EOF")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data):
            raise ProtobufError("unexpected EOF")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise ProtobufError("proto: integer overflow")


# --- messages whose JSON form is not their wire form ----------------------------------------------


def _numbers(data: memoryview) -> dict[int, Any]:
    return {number: value for number, _, value in _entries(data)}


def _moment(data: memoryview) -> datetime | None:
    """Return the time of a ``{seconds, nanos}`` message; None for Go's zero time, which is written empty."""
    parts = _numbers(data)
    if not parts:
        return None
    seconds = parts.get(1, 0)
    seconds = seconds - 2**64 if seconds >= 2**63 else seconds
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=parts.get(2, 0) // 1000)


def _time(data: memoryview, _: Messages) -> str | None:
    moment = _moment(data)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _micro_time(data: memoryview, _: Messages) -> str | None:
    moment = _moment(data)
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def _quantity(data: memoryview, _: Messages) -> str:
    return _text(_numbers(data).get(1, b"0"))


def _int_or_string(data: memoryview, _: Messages) -> int | str:
    parts = _numbers(data)
    if parts.get(1, 0) == 1:
        return _text(parts.get(3, b""))
    number: int = _value(parts.get(2, 0), VARINT, "i", _no_messages)
    return number


def _json(data: memoryview, _: Messages) -> Any:
    raw = bytes(_numbers(data).get(1, b""))
    return msgspec.json.decode(raw) if raw else None


def _schema_or(number: int, empty: Any) -> Callable[[memoryview, Messages], Any]:
    """Return a reader of a union in CustomResourceDefinition: a schema (that field), or something else."""

    def read(data: memoryview, messages: Messages) -> Any:
        schemas: list[Any] = []
        other: list[Any] = []
        for field, _, value in _entries(data):
            if field == number:
                schemas.append(_message(memoryview(value), f"{EXTENSIONS}.JSONSchemaProps", messages))
            else:
                other.append(value)
        return empty(schemas, other, messages)

    return read


def _or_bool(schemas: list[Any], other: list[Any], _: Messages) -> Any:
    return schemas[0] if schemas else bool(other and other[0])


def _or_array(schemas: list[Any], other: list[Any], messages: Messages) -> Any:
    if schemas:
        return schemas[0]
    return [_message(memoryview(item), f"{EXTENSIONS}.JSONSchemaProps", messages) for item in other]


def _or_strings(schemas: list[Any], other: list[Any], _: Messages) -> Any:
    return schemas[0] if schemas else [_text(item) for item in other]


def _items(data: memoryview, _: Messages) -> list[str]:
    """Return the strings of a Go ``type X []string``, which is a message with one repeated field."""
    return [_text(value) for number, _, value in _entries(data) if number == 1]


SPECIAL: dict[str, Callable[[memoryview, Messages], Any]] = {
    f"{META}.Time": _time,
    f"{META}.MicroTime": _micro_time,
    f"{META}.FieldsV1": _json,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": _quantity,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _json,
    f"{EXTENSIONS}.JSON": _json,
    f"{EXTENSIONS}.JSONSchemaPropsOrBool": _schema_or(2, _or_bool),
    f"{EXTENSIONS}.JSONSchemaPropsOrArray": _schema_or(1, _or_array),
    f"{EXTENSIONS}.JSONSchemaPropsOrStringArray": _schema_or(1, _or_strings),
    "io.k8s.api.authentication.v1.ExtraValue": _items,
    "io.k8s.api.authorization.v1.ExtraValue": _items,
    "io.k8s.api.certificates.v1.ExtraValue": _items,
}
