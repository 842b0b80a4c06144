import copy

import pytest

from hortator.apimachinery.patches import PatchError, json_equal, json_patch, merge_patch

DOC = {"a": {"b": [1, 2, 3], "c~/d": "x"}, "e": None}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/a/b/1", "value": 9}, {"a": {"b": [1, 9, 2, 3], "c~/d": "x"}, "e": None}),
        ({"op": "add", "path": "/a/b/-", "value": 9}, {"a": {"b": [1, 2, 3, 9], "c~/d": "x"}, "e": None}),
        ({"op": "add", "path": "/a/b/3", "value": 9}, {"a": {"b": [1, 2, 3, 9], "c~/d": "x"}, "e": None}),
        ({"op": "add", "path": "/f", "value": {}}, {**DOC, "f": {}}),
        ({"op": "add", "path": "", "value": [1]}, [1]),
        ({"op": "remove", "path": "/a/b/0"}, {"a": {"b": [2, 3], "c~/d": "x"}, "e": None}),
        ({"op": "remove", "path": "/e"}, {"a": DOC["a"]}),
        ({"op": "replace", "path": "/a/c~0~1d", "value": 1}, {"a": {"b": [1, 2, 3], "c~/d": 1}, "e": None}),
        ({"op": "replace", "path": "/a/b/2", "value": 1}, {"a": {"b": [1, 2, 1], "c~/d": "x"}, "e": None}),
        ({"op": "replace", "path": "/x", "value": 1}, {**DOC, "x": 1}),
        ({"op": "move", "from": "/a/b/0", "path": "/e"}, {"a": {"b": [2, 3], "c~/d": "x"}, "e": 1}),
        ({"op": "copy", "from": "/a/b", "path": "/e"}, {"a": DOC["a"], "e": [1, 2, 3]}),
        ({"op": "test", "path": "/a/b", "value": [1, 2.0, 3]}, DOC),
        ({"op": "test", "path": "/e", "value": None}, DOC),
    ],
)
def test_json_patch(operation, expected):
    before = copy.deepcopy(DOC)
    assert json_patch(DOC, [operation]) == expected
    assert before == DOC


@pytest.mark.parametrize(
    ("operations", "code", "message"),
    [
        ({}, 400, "must be a list"),
        ([1], 400, "must be an object"),
        ([{"op": "fly", "path": "/a"}], 422, "unexpected kind of operation: 'fly'"),
        ([{"op": "add", "value": 1}], 422, "has no path"),
        ([{"op": "add", "path": "/x"}], 422, "has no 'value'"),
        ([{"op": "add", "path": "x", "value": 1}], 422, "'x' is not a JSON pointer"),
        ([{"op": "add", "path": "/x/y", "value": 1}], 422, "there is nothing at '/x/y'"),
        ([{"op": "add", "path": "/a/b/4", "value": 1}], 422, "index 4 of '/a/b/4' is out of bounds"),
        ([{"op": "add", "path": "/a/b/01", "value": 1}], 422, "out of bounds"),
        ([{"op": "add", "path": "/a/b/-1", "value": 1}], 422, "out of bounds"),
        ([{"op": "remove", "path": "/a/b/-"}], 422, "there is nothing at '/a/b/-'"),
        ([{"op": "remove", "path": ""}], 422, "cannot be removed"),
        ([{"op": "test", "path": "/a/b/0", "value": True}], 422, "testing value /a/b/0 failed"),
        ([{"op": "move", "from": "/a", "path": "/a/x"}], 422, "cannot be moved into itself"),
        ([{"op": "copy", "from": "/x", "path": "/y"}], 422, "there is nothing at '/x'"),
        ([{"op": "test", "path": "/e", "value": None}] * 10_001, 413, "got 10001"),
    ],
)
def test_json_patches_that_are_refused(operations, code, message):
    with pytest.raises(PatchError) as error:
        json_patch(DOC, operations)
    assert error.value.code == code
    assert message in error.value.message


def test_copies_are_separate():
    patched = json_patch(
        {"a": {}},
        [
            {"op": "add", "path": "/a/x", "value": 1},
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "add", "path": "/b/y", "value": 2},
            {"op": "add", "path": "/a/z", "value": 3},
        ],
    )
    assert patched == {"a": {"x": 1, "z": 3}, "b": {"x": 1, "y": 2}}


def test_copies_cannot_grow_without_bound():
    operations = [{"op": "copy", "from": "", "path": f"/k{i}"} for i in range(30)]
    with pytest.raises(PatchError, match="copied values exceed"):
        json_patch({"a": "x" * 1000}, operations)


def test_no_patch_nests_beyond_the_limit():
    operations = [{"op": "move", "from": "", "path": ""}]
    operations += [{"op": "add", "path": "/a" * i, "value": {}} for i in range(1, 200)]
    with pytest.raises(PatchError, match="nests values more than 128 levels deep"):
        json_patch({}, operations)
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(PatchError, match="nests values more than 128 levels deep"):
        merge_patch({}, deep)


@pytest.mark.parametrize(
    ("doc", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(doc, patch, expected):
    before = copy.deepcopy(doc)
    assert merge_patch(doc, patch) == expected
    assert doc == before


def test_a_merge_patch_is_an_object():
    with pytest.raises(PatchError) as error:
        merge_patch({}, [])
    assert error.value.code == 400


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [(1, 1.0, True), (1, True, False), ([0], [False], False), ({"a": 1}, {"a": 1}, True), (None, 0, False)],
)
def test_json_equality(left, right, equal):
    assert json_equal(left, right) is equal
