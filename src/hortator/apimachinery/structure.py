"""A schema as a tree of nodes that are made on first use.

One node answers what patches, apply, pruning and validation ask about a value's place: its fields, its items, how
lists and maps merge. References are followed here and nowhere else. Checking values is left to
:mod:`hortator.apimachinery.schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

from hortator.apimachinery.nesting import MAXIMUM_DEPTH

__all__ = ["Node", "Resolve", "SchemaError"]

Resolve = Callable[[str], Mapping[str, Any]]

#: References to references that are followed before a schema is taken for circular.
_LONGEST_CHAIN = 32


class SchemaError(ValueError):
    """A schema that cannot be used: a reference that leads nowhere, or a rule that cannot be compiled."""


def _flat(raw: Mapping[str, Any], resolve: Resolve | None) -> tuple[Mapping[str, Any], str]:
    """Follow ``$ref`` (also as the only entry of ``allOf``); what stands beside it wins. Returns the name too."""
    name = ""
    for _ in range(_LONGEST_CHAIN):
        reference = raw.get("$ref")
        rest = {key: value for key, value in raw.items() if key != "$ref"}
        if reference is None:
            alternatives = raw.get("allOf")
            if not (isinstance(alternatives, list) and len(alternatives) == 1 and "$ref" in alternatives[0]):
                return raw, name
            reference = alternatives[0]["$ref"]
            rest = {key: value for key, value in raw.items() if key != "allOf"}
        if resolve is None:
            raise SchemaError(f"reference {reference} cannot be followed here")
        target = resolve(reference)
        if not rest:
            name = name or reference
        raw = {**target, **rest}
    raise SchemaError("references lead in a circle")


def _any_rules(raw: Any, level: int) -> bool:
    if not isinstance(raw, Mapping) or level > MAXIMUM_DEPTH:
        return False
    if raw.get("x-kubernetes-validations"):
        return True
    below = [*(raw.get("properties") or {}).values(), raw.get("items"), raw.get("additionalProperties")]
    return any(_any_rules(each, level + 1) for each in below + list(raw.get("allOf") or ()))


class _Shared:
    """What all nodes of one schema have in common."""

    __slots__ = ("nodes", "resolve")

    def __init__(self, resolve: Resolve | None):
        self.resolve = resolve
        #: Nodes of pure references: a type that occurs in many places is compiled once, a recursive one ends.
        self.nodes: dict[str, Any] = {}


class Node:
    """One place in a schema. ``raw`` is the schema there, with references followed."""

    def __init__(
        self, raw: Mapping[str, Any], resolve: Resolve | None = None, *, shared: _Shared | None = None
    ):
        self.shared = shared or _Shared(resolve)
        self.raw, _ = _flat(raw, self.shared.resolve)

    def child(self, raw: Any) -> Self:
        """Return the node of a schema that stands inside this one; pure references share one node."""
        if not isinstance(raw, Mapping):
            raw = {}
        reference = raw.get("$ref") if len(raw) == 1 else None
        if isinstance(reference, str):
            node = self.shared.nodes.get(reference)
            if node is None:
                node = self.shared.nodes[reference] = type(self)(raw, shared=self.shared)
            found: Self = node
            return found
        return type(self)(raw, shared=self.shared)

    @cached_property
    def _children(self) -> dict[str, Self]:
        return {}

    @cached_property
    def properties(self) -> Mapping[str, Any]:
        """The schemas of the named fields, as they stand in ``raw``."""
        properties: Mapping[str, Any] = self.raw.get("properties") or {}
        return properties

    def property(self, name: str) -> Self | None:
        """Return the node of a named field, or None."""
        node = self._children.get(name)
        if node is None and name in self.properties:
            node = self._children[name] = self.child(self.properties[name])
        return node

    @cached_property
    def additional(self) -> Self | None:
        """The node of all fields without a name of their own (``additionalProperties``), or None."""
        raw = self.raw.get("additionalProperties")
        if raw is True:
            return self.child({"x-kubernetes-preserve-unknown-fields": True})
        return self.child(raw) if isinstance(raw, Mapping) else None

    def field(self, name: str) -> Self | None:
        """Return the node of a field, named or additional, or None when nothing is said about it."""
        return self.property(name) or self.additional

    @cached_property
    def defaulted(self) -> tuple[str, ...]:
        """The named fields that have a default."""
        names = (name for name, raw in self.properties.items() if isinstance(raw, Mapping))
        return tuple(name for name in names if self._default_of(name) is not None)

    def _default_of(self, name: str) -> Any:
        raw = self.properties[name]
        if "default" in raw or "$ref" not in raw:
            return raw.get("default")
        node = self.property(name)
        return node.raw.get("default") if node else None

    @cached_property
    def items(self) -> Self | None:
        """The node of a list's items, or None."""
        raw = self.raw.get("items")
        return self.child(raw) if isinstance(raw, Mapping) else None

    @cached_property
    def type(self) -> str:
        """``object``, ``array``, ``string``, … or "" when any is allowed or several are."""
        kind = self.raw.get("type")
        if isinstance(kind, str):
            return kind
        if "properties" in self.raw or "additionalProperties" in self.raw:
            return "object"
        return "array" if "items" in self.raw else ""

    @cached_property
    def nullable(self) -> bool:
        """Whether null is a value here."""
        return bool(self.raw.get("nullable"))

    @cached_property
    def preserve_unknown(self) -> bool:
        """Whether fields that the schema does not name are kept: said so, or nothing is said about the type."""
        if self.raw.get("x-kubernetes-preserve-unknown-fields"):
            return True
        return not self.type and not self.int_or_string

    @cached_property
    def embedded(self) -> bool:
        """Whether a whole object (apiVersion, kind, metadata) stands here."""
        return bool(self.raw.get("x-kubernetes-embedded-resource"))

    @cached_property
    def int_or_string(self) -> bool:
        """Whether both integers and text are allowed."""
        return bool(self.raw.get("x-kubernetes-int-or-string")) or self.raw.get("format") == "int-or-string"

    @cached_property
    def list_type(self) -> str:
        """``atomic`` (also when nothing is said), ``set`` or ``map``."""
        return str(self.raw.get("x-kubernetes-list-type") or "atomic")

    @cached_property
    def list_map_keys(self) -> tuple[str, ...]:
        """The fields that identify an item of a list of type ``map``."""
        return tuple(self.raw.get("x-kubernetes-list-map-keys") or ())

    @cached_property
    def map_type(self) -> str:
        """``granular`` (also when nothing is said) or ``atomic``."""
        return str(self.raw.get("x-kubernetes-map-type") or "granular")

    @cached_property
    def rules(self) -> tuple[Mapping[str, Any], ...]:
        """The validation rules in CEL that apply to values here, those in ``allOf`` included."""
        found = list(self.raw.get("x-kubernetes-validations") or ())
        for part in self.raw.get("allOf") or ():
            found += part.get("x-kubernetes-validations") or ()
        return tuple(found)

    @cached_property
    def has_rules(self) -> bool:
        """Whether rules apply here or anywhere below. Schemas with references have none (upstream's rule)."""
        return bool(self.rules) or _any_rules(self.raw, 0)

    @cached_property
    def patch_strategies(self) -> frozenset[str]:
        """What strategic merge patches do here: some of ``merge``, ``replace``, ``retainKeys``."""
        text = self.raw.get("x-kubernetes-patch-strategy") or ""
        return frozenset(part for part in str(text).split(",") if part)

    @cached_property
    def patch_merge_key(self) -> str:
        """The field that identifies an item of a list in a strategic merge patch, or ""."""
        return str(self.raw.get("x-kubernetes-patch-merge-key") or "")
