import copy

import pytest

from hortator.apimachinery.patches import PatchError
from hortator.apimachinery.strategic import strategic_merge
from hortator.apimachinery.structure import Node

SCHEMA = Node(
    {
        "type": "object",
        "properties": {
            "containers": {
                "type": "array",
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "name",
                "items": {
                    "type": "object",
                    "properties": {
                        "args": {"type": "array"},
                        "ports": {
                            "type": "array",
                            "x-kubernetes-patch-strategy": "merge",
                            "x-kubernetes-patch-merge-key": "port",
                        },
                    },
                },
            },
            "finalizers": {"type": "array", "x-kubernetes-patch-strategy": "merge"},
            "args": {"type": "array"},
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys"},
            "template": {"$ref": "template"},
            "selector": {"type": "object", "x-kubernetes-patch-strategy": "replace"},
        },
    },
    lambda name: (
        {"type": "object", "properties": {"inner": {"$ref": "template"}, "list": {"$ref": "list"}}}
        if name == "template"
        else {
            "type": "array",
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "id",
        }
    ),
)


def names(*texts):
    return [{"name": text} for text in texts]


@pytest.mark.parametrize(
    ("doc", "patch", "expected"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": None, "c": 3}, {"b": 2, "c": 3}, id="scalars"),
        pytest.param({"m": {"x": 1, "y": 2}}, {"m": {"x": None}}, {"m": {"y": 2}}, id="maps"),
        pytest.param(
            {"m": {"x": 1}}, {"m": {"$patch": "replace", "y": 1}}, {"m": {"y": 1}}, id="map replace"
        ),
        pytest.param({"m": {"x": 1}}, {"m": {"$patch": "delete"}}, {"m": {}}, id="map delete"),
        pytest.param(
            {"m": {"x": 1}}, {"m": {"n": {"$patch": "delete"}}}, {"m": {"x": 1}}, id="delete absent"
        ),
        pytest.param({"args": [1, 2]}, {"args": [3]}, {"args": [3]}, id="plain list"),
        pytest.param(
            {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]},
            {"containers": [{"name": "c"}, {"name": "a", "image": "y", "args": ["-v"]}]},
            {"containers": [{"name": "c"}, {"name": "a", "image": "y", "args": ["-v"]}, {"name": "b"}]},
            id="keyed list",
        ),
        pytest.param(
            {"containers": names("a", "b", "c")},
            {"containers": [{"name": "b", "$patch": "delete"}]},
            {"containers": names("a", "c")},
            id="delete item",
        ),
        pytest.param(
            {"containers": names("a", "b")},
            {"containers": [{"$patch": "replace"}, {"name": "z"}]},
            {"containers": names("z")},
            id="replace list",
        ),
        pytest.param(
            {"containers": [{"name": "a", "ports": [{"port": 1, "x": 1}]}]},
            {"containers": [{"name": "a", "ports": [{"port": 2}, {"port": 1, "y": 2}]}]},
            {"containers": [{"name": "a", "ports": [{"port": 2}, {"port": 1, "x": 1, "y": 2}]}]},
            id="nested keyed lists",
        ),
        pytest.param(
            {"finalizers": ["a", "b"]}, {"finalizers": ["b", "c"]}, {"finalizers": ["a", "b", "c"]}, id="set"
        ),
        pytest.param(
            {"finalizers": ["a", "b", "c"]},
            {"$deleteFromPrimitiveList/finalizers": ["b"]},
            {"finalizers": ["a", "c"]},
            id="delete from set",
        ),
        pytest.param(
            {"containers": names("a", "server", "b")},
            {"$setElementOrder/containers": names("b", "new", "a"), "containers": names("new")},
            {"containers": names("server", "b", "new", "a")},
            id="order",
        ),
        pytest.param(
            {"containers": names("server", "a", "b")},
            {"$setElementOrder/containers": names("b", "a")},
            {"containers": names("server", "b", "a")},
            id="order only",
        ),
        pytest.param(
            {"finalizers": ["x", "a"]},
            {"$setElementOrder/finalizers": ["b", "a"], "finalizers": ["b"]},
            {"finalizers": ["b", "x", "a"]},
            id="order of a set",
        ),
        pytest.param(
            {"strategy": {"type": "Rolling", "rolling": {"max": 1}}},
            {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
            {"strategy": {"type": "Recreate"}},
            id="retain keys",
        ),
        pytest.param(
            {"selector": {"a": 1}}, {"selector": {"b": 1}}, {"selector": {"b": 1}}, id="replace strategy"
        ),
        pytest.param(
            {"template": {"inner": {"inner": {"list": [{"id": 1, "a": 1}]}}}},
            {"template": {"inner": {"inner": {"list": [{"id": 1, "b": 1}]}}}},
            {"template": {"inner": {"inner": {"list": [{"id": 1, "a": 1, "b": 1}]}}}},
            id="recursive references",
        ),
        pytest.param({}, {"m": {"a": None, "b": {"c": None}}}, {"m": {"b": {}}}, id="nulls are not stored"),
        pytest.param(
            {}, {"containers": [{"name": "a"}, {"name": "b", "$patch": "delete"}]}, {"containers": names("a")}
        ),
        pytest.param(
            {"containers": None}, {"containers": names("a")}, {"containers": names("a")}, id="null before"
        ),
    ],
)
def test_strategic_merge(doc, patch, expected):
    before, asked = copy.deepcopy(doc), copy.deepcopy(patch)
    assert strategic_merge(doc, patch, SCHEMA) == expected
    assert (doc, patch) == (before, asked)


@pytest.mark.parametrize(
    ("doc", "patch", "code", "message"),
    [
        ({}, [], 400, "invalid JSON document"),
        ({"m": {}}, {"m": {"$patch": "explode"}}, 422, "unknown patch type: explode"),
        ({"strategy": {}}, {"strategy": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        (
            {"strategy": {}},
            {"strategy": {"$retainKeys": [], "a": 1}},
            400,
            "invalid patch format of retainKeys",
        ),
        ({}, {"$deleteFromPrimitiveList": ["a"]}, 400, "invalid patch format of primitive list"),
        (
            {"finalizers": []},
            {"$deleteFromPrimitiveList/finalizers": "a"},
            400,
            "invalid patch format of primitive",
        ),
        ({}, {"$setElementOrder/containers": 1}, 400, "invalid patch format of setElementOrder list"),
        (
            {"containers": names("a")},
            {"$setElementOrder/containers": names("a", "b"), "containers": names("b", "a")},
            422,
            "The order in patch list doesn't match",
        ),
        (
            {"containers": names("a")},
            {"containers": [{"x": 1}]},
            422,
            "does not contain declared merge key: name",
        ),
        ({"containers": names("a")}, {"containers": ["a"]}, 422, "list element types are not identical"),
        ({"finalizers": ["a"]}, {"finalizers": [["a"]]}, 422, "lists of lists are not supported"),
    ],
)
def test_patches_that_are_refused(doc, patch, code, message):
    with pytest.raises(PatchError) as error:
        strategic_merge(doc, patch, SCHEMA)
    assert error.value.code == code
    assert message in error.value.message
