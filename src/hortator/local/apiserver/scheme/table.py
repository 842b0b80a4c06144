"""The scheme table: reading the packaged file and answering questions about built-in kinds.

Kinds are built at once (a few dozen); definitions and messages stay encoded until somebody asks for one.
Custom resources are not here: whoever serves them keeps their kinds and schemas.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hortator.local.apiserver.scheme.decode import Decoder
from hortator.local.apiserver.scheme.kinds import Kind, Subresource

if TYPE_CHECKING:
    from hortator.apimachinery.schema import Schema

__all__ = ["Scheme", "load_scheme"]

META = "io.k8s.apimachinery.pkg.apis.meta.v1"

# Bodies that are no resource of their own: (api version or "*", kind) -> definition.
EXTRA_KINDS = {
    ("autoscaling/v1", "Scale"): "io.k8s.api.autoscaling.v1.Scale",
    ("authentication.k8s.io/v1", "TokenRequest"): "io.k8s.api.authentication.v1.TokenRequest",
    ("policy/v1", "Eviction"): "io.k8s.api.policy.v1.Eviction",
    ("v1", "Status"): f"{META}.Status",
    ("*", "DeleteOptions"): f"{META}.DeleteOptions",
}


class _Table(msgspec.Struct):
    version: str
    kinds: list[dict[str, Any]]
    definitions: dict[str, msgspec.Raw]
    messages: dict[str, msgspec.Raw]


class Scheme:
    """The built-in kinds. Immutable apart from its caches; safe to share between threads."""

    def __init__(self, packed: bytes) -> None:
        table = msgspec.json.decode(zlib.decompress(packed), type=_Table)
        self.version = table.version
        self._definitions = table.definitions
        self._messages = table.messages
        self._kinds = tuple(_kind(entry) for entry in table.kinds)
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self._kinds}
        self._by_kind = {(kind.api_version, kind.kind): kind for kind in self._kinds}
        self._decoded: dict[str, dict[str, Any]] = {}
        self._fields: dict[str, list[tuple[int, str, str, int]]] = {}
        self._schemas: dict[str, Schema] = {}
        self._decoder = Decoder(self.definition, self.message)

    def kinds(self) -> Sequence[Kind]:
        """Return every built-in kind, core first."""
        return self._kinds

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind served at that path, or None."""
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        """Return the kind with that ``apiVersion`` and ``kind``, or None."""
        return self._by_kind.get((api_version, kind))

    def definition_name(self, api_version: str, kind: str) -> str | None:
        """Return the name of the definition of a body, resources and options alike, or None where unknown."""
        found = self._by_kind.get((api_version, kind))
        if found is not None:
            return found.definition
        return EXTRA_KINDS.get((api_version, kind)) or EXTRA_KINDS.get(("*", kind))

    def definition(self, name: str) -> dict[str, Any]:
        """Return one definition, to be read only; ``$ref`` holds a bare name. KeyError if unknown."""
        found = self._decoded.get(name)
        if found is None:
            found = self._decoded[name] = msgspec.json.decode(self._definitions[name])
        return found

    def has_message(self, name: str) -> bool:
        """Tell whether a definition has a wire form in the table."""
        return name in self._messages

    def message(self, name: str) -> list[tuple[int, str, str, int]]:
        """Return a message's fields as ``(number, JSON name, type, flags)``. KeyError if unknown."""
        found = self._fields.get(name)
        if found is None:
            fields = msgspec.json.decode(self._messages[name], type=list[tuple[int, str, str, int]])
            found = self._fields[name] = fields
        return found

    def schema(self, kind: Kind | str) -> Schema:
        """Return the compiled schema of a built-in kind or of a definition by name (for patches and apply).

        ``required`` is left out and null is allowed everywhere: Go decoding, which the clients of the
        built-in kinds rely on, knows neither; strategies say what is required.
        """
        from hortator.apimachinery.schema import compile_schema

        name = kind if isinstance(kind, str) else kind.definition
        found = self._schemas.get(name)
        if found is None:
            found = self._schemas[name] = compile_schema({"$ref": name}, self._lenient)
        return found

    def decode(self, definition: str, body: Any) -> tuple[dict[str, Any], list[str]]:
        """Read a JSON body as Go clients expect a server to: return the object and the unknown fields' paths.

        Unknown fields, nulls and what Go would leave out on writing are dropped; quantities become canonical.
        The body is not changed. Raises DecodeError with upstream's words where a type does not fit.
        """
        return self._decoder.decode(definition, body)

    def decode_protobuf(self, body: bytes) -> dict[str, Any]:
        """Read a body of ``application/vnd.kubernetes.protobuf``. Raises ProtobufError."""
        from hortator.local.apiserver.protobuf import decode_envelope

        return decode_envelope(body, self.definition_name, self.message)

    def openapi_document(self, group: str, version: str) -> dict[str, Any]:
        """Return the OpenAPI v3 document of a group version."""
        from hortator.local.apiserver.openapi import document

        kinds = [kind for kind in self._kinds if (kind.group, kind.version) == (group, version)]
        return document(kinds, self.definition)

    def _lenient(self, name: str) -> dict[str, Any]:
        definition: dict[str, Any] = _lenient(self.definition(name))
        return definition


@lru_cache(maxsize=1)
def load_scheme() -> Scheme:
    """Return the scheme of the packaged table; the same one each time."""
    return Scheme(Path(__file__).with_name("table.json.zz").read_bytes())


def _kind(entry: dict[str, Any]) -> Kind:
    return Kind(
        group=entry["group"],
        version=entry["version"],
        kind=entry["kind"],
        plural=entry["plural"],
        singular=entry["singular"],
        short_names=tuple(entry["short_names"]),
        namespaced=entry["namespaced"],
        categories=tuple(entry["categories"]),
        verbs=tuple(entry["verbs"]),
        subresources=tuple(
            Subresource(sub["name"], sub["group"], sub["version"], sub["kind"], tuple(sub["verbs"]))
            for sub in entry["subresources"]
        ),
        definition=entry["definition"],
    )


def _lenient(node: Any) -> Any:
    """Return a schema node without ``required`` and with null allowed, below it too."""
    if not isinstance(node, dict):
        return node
    result = {key: value for key, value in node.items() if key != "required"}
    result["nullable"] = True
    if "properties" in node:
        result["properties"] = {name: _lenient(child) for name, child in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            result[key] = _lenient(node[key])
    return result
