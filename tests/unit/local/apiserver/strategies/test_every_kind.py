"""What holds for the strategy of every built-in kind."""

from typing import Any

import pytest

from hortator.local.apiserver.scheme import Kind, load_scheme
from support.strategies import CREATED, NOW, strategy

KINDS = load_scheme().kinds()
OBJECTS: list[dict[str, Any]] = [
    {},
    {"metadata": {"name": "a"}},
    {"metadata": {"name": "a", "creationTimestamp": CREATED}, "spec": {}, "status": {}},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.group_resource for kind in KINDS])


@kinds
def test_a_row_has_a_cell_for_each_column(kind: Kind) -> None:
    made = strategy(kind.group_resource)
    for obj in OBJECTS:
        assert len(made.row(obj, NOW)) == len(made.columns)


@kinds
def test_defaults_are_filled_in_once_and_do_not_touch_the_input(kind: Kind) -> None:
    made = strategy(kind.group_resource)
    obj = {"metadata": {"name": "a"}, "spec": {}}
    once = made.default(obj)
    assert made.default(once) == once
    assert obj == {"metadata": {"name": "a"}, "spec": {}}


@kinds
def test_the_name_is_selectable_even_of_an_empty_object(kind: Kind) -> None:
    made = strategy(kind.group_resource)
    assert made.fields({})["metadata.name"] == ""
    assert ("metadata.namespace" in made.fields({})) == kind.namespaced


@kinds
def test_an_update_that_changes_nothing_is_as_good_as_the_object(kind: Kind) -> None:
    made = strategy(kind.group_resource)
    metadata = {"name": "a", "uid": "u", **({"namespace": "default"} if kind.namespaced else {})}
    obj = made.prepare_create(made.default({"metadata": metadata}))
    new = made.prepare_update(made.default(obj), obj)
    assert set(made.validate_update(new, obj)) <= set(made.validate(obj))


WITH_STATUS = [kind for kind in KINDS if kind.has_status()]


@pytest.mark.parametrize("kind", WITH_STATUS, ids=[kind.group_resource for kind in WITH_STATUS])
def test_a_status_write_leaves_the_spec(kind: Kind) -> None:
    made = strategy(kind.group_resource)
    old = {
        "metadata": {"name": "a", "labels": {"a": "b"}, "generation": 3, "resourceVersion": "1"},
        "spec": {"x": 1},
        "status": {},
    }
    changed = {"name": "a", "labels": {"a": "c"}, "generation": 4, "resourceVersion": "1"}
    new = {"metadata": changed, "spec": {"x": 2}, "status": {"y": 3}}
    stored = made.prepare_subresource("status", new, old)
    assert stored["spec"] == {"x": 1}
    assert stored["metadata"]["generation"] == 3
    assert stored["metadata"]["labels"] == {"a": "b" if made.status_alone else "c"}
    assert stored["status"]["y"] == 3
