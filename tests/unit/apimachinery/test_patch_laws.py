"""Patches, strategic merges and applies on random values: against another implementation, and by their laws."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as st

from hortator.apimachinery.apply import ApplyConflict, apply
from hortator.apimachinery.fieldsets import decode
from hortator.apimachinery.patches import PatchError, json_equal, json_patch, merge_patch
from hortator.apimachinery.schema import compile_schema
from hortator.apimachinery.strategic import strategic_merge

laws = settings(derandomize=True, deadline=None, max_examples=100, database=None)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b", "c/d", "e~f", ""])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "y"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
MAPS = st.dictionaries(KEYS, VALUES, max_size=4)


def without_null(value: Any) -> Any:
    """A merge patch cannot say null, except as an item of a list."""
    if isinstance(value, dict):
        return {key: without_null(each) for key, each in value.items() if each is not None}
    return value


def merge_diff(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    gone = {key: None for key in old if key not in new}
    return gone | {key: merge_diff(old.get(key), value) for key, value in new.items()}


@laws
@given(MAPS, MAPS)
def test_the_difference_that_another_library_finds_leads_there(old: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    found = json_patch(old, jsonpatch.make_patch(old, new).patch)
    assert found == new
    assert old == before


POINTERS = st.lists(st.sampled_from(["a", "b", "c~1d", "e~0f", "0", "1", "-", "01"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
OPERATIONS = st.lists(
    st.one_of(
        st.builds(
            lambda op, path, value: {"op": op, "path": path, "value": value},
            st.sampled_from(["add", "test"]),
            POINTERS,
            VALUES,
        ),
        st.builds(
            lambda op, path, source: {"op": op, "path": path, "from": source},
            st.sampled_from(["copy", "move"]),
            POINTERS,
            POINTERS,
        ),
        st.builds(lambda path: {"op": "remove", "path": path}, POINTERS),
    ),
    max_size=5,
)


@laws
@given(MAPS, OPERATIONS)
def test_another_library_finds_the_same(doc: Any, operations: Any) -> None:
    """Both may refuse; who accepts what the other refuses is judged by the RFC in the table of cases."""
    try:
        ours = json_patch(doc, operations)
    except PatchError:
        return
    try:
        theirs = jsonpatch.apply_patch(doc, operations)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, AttributeError):
        return
    assert json_equal(ours, theirs)


@laws
@given(MAPS, MAPS)
def test_a_merge_of_the_difference_leads_there(old: Any, new: Any) -> None:
    assert merge_patch(old, merge_diff(old, without_null(new))) == without_null(new)


@laws
@given(MAPS, MAPS)
def test_merging_twice_is_merging_once(doc: Any, patch: Any) -> None:
    once = merge_patch(doc, patch)
    assert json_equal(merge_patch(once, patch), once)


CONTAINERS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "x-kubernetes-patch-strategy": "merge",
    "x-kubernetes-patch-merge-key": "name",
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "image": {"type": "string"}, "size": {"type": "integer"}},
    },
}
GROUPS = {
    "type": "array",
    "x-kubernetes-list-type": "set",
    "x-kubernetes-patch-strategy": "merge",
    "items": {"type": "string"},
}
SPEC = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "args": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic"},
        "groups": GROUPS,
        "containers": CONTAINERS,
    },
}
SCHEMA = compile_schema({"type": "object", "properties": {"metadata": {"type": "object"}, "spec": SPEC}})
WORDS = st.sampled_from(["x", "y", "z"])


def containers() -> st.SearchStrategy[Any]:
    fields = st.fixed_dictionaries({}, optional={"image": WORDS, "size": st.integers(0, 3)})
    return st.dictionaries(WORDS, fields, min_size=1, max_size=3).map(
        lambda each: [{"name": name, **rest} for name, rest in each.items()]
    )


# What is empty is outside these laws: an empty list of fields is owned by nobody, an empty map goes with its last field
# whoever owns it (upstream's rules).
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "labels": st.dictionaries(WORDS, WORDS, min_size=1, max_size=3),
        "args": st.lists(WORDS, max_size=3),
        "groups": st.lists(WORDS, min_size=1, max_size=3, unique=True),
        "containers": containers(),
    },
)


def config(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, **({"spec": spec} if spec else {})}


def applied(live: Any, spec: Any, manager: str, *, force: bool = False) -> dict[str, Any]:
    return apply(live, config(spec), SCHEMA, manager=manager, force=force, api_version="x/v1", now=NOW)


def by_name(value: Any) -> Any:
    """The order in which two writers' items and keys come is nobody's promise."""
    if isinstance(value, dict):
        return {key: by_name(each) for key, each in value.items() if key != "managedFields"}
    if isinstance(value, list):
        return sorted((by_name(each) for each in value), key=repr)
    return value


def owned(obj: dict[str, Any], manager: str) -> frozenset[Any]:
    entries = obj["metadata"].get("managedFields", ())
    return frozenset().union(*(decode(each["fieldsV1"]) for each in entries if each["manager"] == manager))


@laws
@given(SPECS, SPECS)
def test_a_strategic_merge_twice_is_one(old: Any, patch: Any) -> None:
    once = strategic_merge(config(old), {"spec": patch}, SCHEMA)
    assert strategic_merge(once, {"spec": patch}, SCHEMA) == once


@laws
@given(SPECS, SPECS)
def test_a_strategic_merge_keeps_what_it_does_not_name(old: Any, patch: Any) -> None:
    merged = strategic_merge(config(old), {"spec": patch}, SCHEMA)["spec"]
    for field in ("replicas", "args"):
        assert merged.get(field) == patch.get(field, old.get(field))
    assert set(merged.get("groups", ())) == {*old.get("groups", ()), *patch.get("groups", ())}
    names = [each["name"] for each in (*old.get("containers", ()), *patch.get("containers", ()))]
    assert {each["name"] for each in merged.get("containers", ())} == set(names)
    assert merged.get("labels", {}) == old.get("labels", {}) | patch.get("labels", {})


@laws
@given(SPECS)
def test_applying_again_changes_nothing(spec: Any) -> None:
    once = applied(None, spec, "me")
    assert applied(once, spec, "me") == once
    assert by_name(once.get("spec", {})) == by_name(spec)


@laws
@given(SPECS, SPECS)
def test_alone_the_object_is_what_was_applied_last(first: Any, second: Any) -> None:
    """Whatever was applied before and is not any more is gone, and what is owned is what a first apply would own."""
    found, fresh = applied(applied(None, first, "me"), second, "me"), applied(None, second, "me")
    assert by_name(found.get("spec") or {}) == by_name(fresh.get("spec") or {})
    assert owned(found, "me") == owned(fresh, "me")


@laws
@given(SPECS, SPECS)
def test_two_managers_without_conflict_commute(one: Any, other: Any) -> None:
    try:
        left = applied(applied(None, one, "one"), other, "other")
        right = applied(applied(None, other, "other"), one, "one")
    except ApplyConflict:
        return
    assert by_name(left) == by_name(right)
    for manager in ("one", "other"):
        assert owned(left, manager) == owned(right, manager)


@laws
@given(SPECS, SPECS)
def test_who_leaves_takes_only_what_was_theirs_alone(one: Any, other: Any) -> None:
    both = applied(applied(None, one, "one"), other, "other", force=True)
    left = applied(both, {}, "other")
    assert owned(left, "one") == owned(both, "one")
    gone = applied(left, {}, "one")
    assert not gone.get("spec"), gone


@laws
@given(SPECS, SPECS)
def test_force_takes_the_fields_that_differ(one: Any, other: Any) -> None:
    before = applied(None, one, "one")
    try:
        applied(before, other, "other")
        conflicts = False
    except ApplyConflict:
        conflicts = True
    after = applied(before, other, "other", force=True)
    lost = owned(before, "one") - owned(after, "one")
    assert bool(lost) is conflicts
    assert lost <= owned(after, "other")
