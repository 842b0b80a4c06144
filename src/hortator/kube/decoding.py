"""What a server sends, as values: objects, lists, and the lines of a watch.

Typed objects are decoded by msgspec in one pass, and only the fields that their Struct names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Generic, TypeVar, cast

import msgspec

from hortator.kube.errors import InvalidAnswer, error_from_status
from hortator.kube.resources import Resource
from hortator.kube.results import Page, WatchEvent

__all__ = ["decode_body", "decode_event", "decode_page", "lines"]

T = TypeVar("T")

#: A body of this size takes milliseconds to decode; it is done in a thread, off the event loop.
_LARGE = 256 * 1024


class _Meta(msgspec.Struct, rename="camel", gc=False):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class _List(msgspec.Struct, Generic[T]):
    metadata: _Meta
    items: list[T] | None = None


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Head(msgspec.Struct, gc=False):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


_decoders: dict[Any, Callable[[bytes | msgspec.Raw], Any]] = {}


def _decoder(form: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    decode = _decoders.get(form)
    if decode is None:
        decode = _decoders[form] = cast(
            "Callable[[bytes | msgspec.Raw], Any]", msgspec.json.Decoder(form).decode
        )
    return decode


async def decode_body(body: bytes, form: Any, what: str = "an object") -> Any:
    """Return a whole answer as ``form``; a large one is decoded off the event loop. Raises ``InvalidAnswer``."""
    decode = _decoder(form)
    try:
        return await asyncio.to_thread(decode, body) if len(body) > _LARGE else decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidAnswer(f"the server's answer is not {what}: {error}") from error


async def decode_page(body: bytes, form: Any, resource: Resource) -> Page[Any]:
    """Return a list. Raises ``InvalidAnswer``.

    Items of built-in kinds come without ``kind`` and ``apiVersion`` from a real server; dicts get them back.
    """
    answer = await decode_body(body, _List[form], "a list")
    items = answer.items or []
    if form is dict:
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
    meta = answer.metadata
    return Page(items, meta.resource_version, meta.continue_, meta.remaining_item_count)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream, wherever its chunks end; what follows the last line break is left out.

    A watch that ends inside an event was cut off; what is missing comes with the next one.
    """
    pending: list[bytes] = []
    async for chunk in chunks:
        head, newline, rest = chunk.partition(b"\n")
        if not newline:
            pending.append(chunk)
            continue
        yield b"".join((*pending, head))
        *whole, tail = rest.split(b"\n")
        for line in whole:
            yield line
        pending = [tail] if tail else []


def decode_event(line: bytes, form: Any, path: str) -> WatchEvent[Any]:
    """Return one event of a watch. Raises the ``ApiError`` that an event carries, and ``InvalidAnswer``."""
    try:
        if form is dict:
            event = _decoder(dict)(line)
            kind, obj = event["type"], event["object"]
            version = obj.get("metadata", {}).get("resourceVersion", "")
            error = obj if kind == "ERROR" else None
        else:
            # The object stays undecoded until it is known to be one of the kind.
            envelope = cast("_Event", _decoder(_Event)(line))
            kind, raw = envelope.type, envelope.object
            error = _decoder(dict)(raw) if kind == "ERROR" else None
            version = "" if error is not None else _decoder(_Head)(raw).metadata.resource_version
            obj = _decoder(form)(raw) if kind not in ("ERROR", "BOOKMARK") else None
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, AttributeError) as problem:
        raise InvalidAnswer(f"{path}: a watch event that cannot be read: {problem}") from problem
    if error is not None:
        raise error_from_status(error)
    return WatchEvent(kind, None if kind == "BOOKMARK" else obj, version)
