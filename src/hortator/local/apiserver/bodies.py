"""Media types: what a client sent, and what it takes in answer.

Reads JSON, YAML and the protobuf envelope of the built-in kinds into plain dicts; writes JSON. CBOR and anything else
is refused with 415, an answer in a type that the server does not have with 406, as upstream (1.36).
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from hortator.apimachinery.status import StatusError
from hortator.kube.http import Request, Response

__all__ = [
    "MAX_BODY",
    "Accepted",
    "Format",
    "accepted",
    "decode",
    "encode",
    "json_response",
    "large",
    "media_type",
]

#: The largest body that is taken, in bytes, as upstream.
MAX_BODY = 3 * 1024 * 1024
#: Bodies above this size are decoded in a thread, so that they hold nobody up.
THREAD_BYTES = 256 * 1024

JSON_HEADERS = {"content-type": "application/json"}
_READABLE = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_WRITABLE = ("application/json",)

encode = msgspec.json.Encoder().encode


class Format:
    """What an answer looks like."""

    OBJECT = "Object"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"
    DISCOVERY = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One entry of an Accept header that the server can satisfy."""

    format: str = Format.OBJECT
    group: str = ""
    version: str = ""
    pretty: bool = False


def media_type(header: str) -> str:
    """Return a Content-Type without its parameters, lower case."""
    return header.partition(";")[0].strip().lower()


def large(body: bytes) -> bool:
    """Whether a body is too large to be decoded on the event loop."""
    return len(body) > THREAD_BYTES


@functools.lru_cache(maxsize=256)
def _entries(header: str) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    ranked: list[tuple[float, int, str, tuple[tuple[str, str], ...]]] = []
    for position, entry in enumerate(header.split(",")):
        pieces = [piece.strip() for piece in entry.split(";")]
        if not pieces[0]:
            continue
        parameters = tuple(
            (key.strip().lower(), value.strip())
            for key, _, value in (piece.partition("=") for piece in pieces[1:])
        )
        quality = 1.0
        for key, value in parameters:
            if key == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if quality > 0:
            ranked.append((-quality, position, pieces[0].lower(), parameters))
    ranked.sort()
    return tuple((kind, parameters) for _, _, kind, parameters in ranked)


@functools.lru_cache(maxsize=256)
def _accepted(header: str, formats: frozenset[str]) -> Accepted | None:
    for kind, parameters in _entries(header or "*/*"):
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        values = dict(parameters)
        wanted = values.get("as", "")
        if not wanted:
            return Accepted()
        if wanted in formats and _known(wanted, values.get("g", ""), values.get("v", "")):
            return Accepted(wanted, values.get("g", ""), values.get("v", ""))
    return None


def _known(wanted: str, group: str, version: str) -> bool:
    if wanted == Format.DISCOVERY:
        return group == "apidiscovery.k8s.io" and version in ("v2", "v2beta1")
    return group == "meta.k8s.io" and version in ("v1", "v1beta1")


def accepted(request: Request, *formats: str) -> Accepted:
    """Return the first way to answer that the client takes; ``formats`` beside plain JSON. Raises 406."""
    found = _accepted(request.headers.get("accept", ""), frozenset(formats))
    if found is None:
        raise StatusError.not_acceptable(_WRITABLE)
    return found


class _Duplicates:
    """Notices whether a JSON key stands twice in one object."""

    def __init__(self) -> None:
        self.found = False

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        self.found = self.found or len(result) < len(pairs)
        return result


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every pair that was written."""


def _load_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise StatusError.bad_request(f"the body of the request is not valid JSON: {error}") from error
    except RecursionError as error:
        raise StatusError.bad_request("the body of the request cannot be read: exceeded max depth") from error
    except UnicodeDecodeError as error:
        raise StatusError.bad_request(f"the body of the request cannot be read: {error}") from error


async def load_json(body: bytes) -> Any:
    """Read JSON, in a thread where it is large. Raises 400 or 413."""
    if len(body) > MAX_BODY:
        raise StatusError.request_entity_too_large(f"limit is {MAX_BODY}")
    return await asyncio.to_thread(_load_json, body) if large(body) else _load_json(body)


def duplicate_keys(body: bytes) -> list[str]:
    """Return the paths (``spec.containers[0].name``) of JSON keys that stand twice in one object, in their order."""
    duplicates = _Duplicates()
    json.loads(body, object_pairs_hook=duplicates)
    return list(_repeated(json.loads(body, object_pairs_hook=_Pairs))) if duplicates.found else []


def _repeated(document: Any) -> Iterator[str]:
    stack = [("", document, False)]
    while stack:
        path, value, again = stack.pop()
        if again:
            yield path
        if isinstance(value, _Pairs):
            names: set[str] = set()
            inside = []
            for name, each in value:
                inside.append((f"{path}.{name}" if path else name, each, name in names))
                names.add(name)
            stack += reversed(inside)
        elif isinstance(value, list):
            stack += reversed([(f"{path}[{index}]", each, False) for index, each in enumerate(value)])


def _load_protobuf(body: bytes, decode_envelope: Callable[[bytes], dict[str, Any]]) -> Any:
    from hortator.local.apiserver.protobuf import ProtobufError

    try:
        return decode_envelope(body)
    except ProtobufError as error:
        raise StatusError.bad_request(f"the body of the request is not valid protobuf: {error}") from error


def _load_yaml(body: bytes) -> Any:
    from hortator.apimachinery import yaml

    try:
        documents = list(yaml.load_all(body))
    except yaml.YamlError as error:
        raise StatusError.bad_request(f"the body of the request is not valid YAML: {error}") from error
    if len(documents) != 1:
        raise StatusError.bad_request("the body of the request must hold exactly one YAML document")
    return documents[0]


async def decode(
    request: Request,
    *,
    protobuf: Callable[[bytes], dict[str, Any]] | None,
    duplicates: list[str] | None = None,
) -> Any:
    """Read a request's body. Paths of repeated JSON keys are added to ``duplicates`` when given.

    Raises 400 for what cannot be read, 413 for what is too large and 415 for a type that is not read here.
    """
    body = request.body
    if len(body) > MAX_BODY:
        raise StatusError.request_entity_too_large(f"limit is {MAX_BODY}")
    kind = media_type(request.headers.get("content-type", "")) or "application/json"
    loader: Callable[[bytes], Any]
    if kind == "application/json":
        loader = _load_json
    elif kind in ("application/yaml", "application/x-yaml", "text/yaml"):
        loader = _load_yaml
    elif kind == "application/vnd.kubernetes.protobuf" and protobuf is not None:
        loader = functools.partial(_load_protobuf, decode_envelope=protobuf)
    else:
        readable = _READABLE if protobuf is not None else _READABLE[:2]
        raise StatusError.unsupported_media_type(readable)

    def load() -> Any:
        value = loader(body)
        if duplicates is not None and loader is _load_json:
            duplicates.extend(duplicate_keys(body))
        return value

    return await asyncio.to_thread(load) if large(body) else load()


def json_response(body: Any, status: int = 200) -> Response:
    """Return an answer with a JSON body."""
    data = body if isinstance(body, bytes) else encode(body)
    return Response(status, JSON_HEADERS, data)
