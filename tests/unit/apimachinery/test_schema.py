import copy

import pytest

from hortator.apimachinery.fielderrors import Path
from hortator.apimachinery.schema import SchemaError, compile_schema
from hortator.apimachinery.structure import Node


def spec(**properties):
    return compile_schema(
        {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    )


def messages(schema, obj, **options):
    return [str(error) for error in schema.validate(obj, **options)]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, "a", []),
        (
            {"type": "string"},
            1,
            ['spec.x: Invalid value: "integer": spec.x in body must be of type string: "integer"'],
        ),
        (
            {"type": "integer"},
            True,
            ['spec.x: Invalid value: "boolean": spec.x in body must be of type integer: "boolean"'],
        ),
        (
            {"type": "integer"},
            1.5,
            ['spec.x: Invalid value: "number": spec.x in body must be of type integer: "number"'],
        ),
        ({"type": "integer"}, 2.0, []),
        ({"type": "number"}, 2, []),
        (
            {"type": "string"},
            None,
            ['spec.x: Invalid value: "null": spec.x in body must be of type string: "null"'],
        ),
        ({"type": "string", "nullable": True}, None, []),
        ({"x-kubernetes-int-or-string": True}, "50%", []),
        ({"x-kubernetes-int-or-string": True}, 5, []),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            ['spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean"'],
        ),
        (
            {"type": "integer", "minimum": 1},
            0,
            ["spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1"],
        ),
        (
            {"type": "integer", "maximum": 5, "exclusiveMaximum": True},
            5,
            ["spec.x: Invalid value: 5: spec.x in body should be less than 5"],
        ),
        (
            {"type": "number", "multipleOf": 0.1},
            0.25,
            ["spec.x: Invalid value: 0.25: spec.x in body should be a multiple of 0.1"],
        ),
        ({"type": "number", "multipleOf": 0.1}, 0.3, []),
        (
            {"type": "integer", "format": "int32"},
            2**31,
            ["spec.x: Invalid value: 2147483648: spec.x in body must be of type integer with format int32"],
        ),
        (
            {"type": "string", "pattern": "^[a-z]+$"},
            "A",
            ["spec.x: Invalid value: \"A\": spec.x in body should match '^[a-z]+$'"],
        ),
        ({"type": "string", "pattern": "b"}, "abc", []),
        ({"type": "string", "pattern": r"^\p{L}+$"}, "é", []),
        ({"type": "string", "maxLength": 2}, "é€", []),
        ({"type": "string", "maxLength": 1}, "ab", ["spec.x: Too long: may not be more than 1 byte"]),
        (
            {"type": "string", "minLength": 1},
            "",
            ['spec.x: Invalid value: "": spec.x in body should be at least 1 chars long'],
        ),
        (
            {"type": "string", "enum": ["a", "b"]},
            "c",
            ['spec.x: Unsupported value: "c": supported values: "a", "b"'],
        ),
        ({"enum": [1]}, True, ['spec.x: Unsupported value: true: supported values: "1"']),
        ({"enum": [{"a": 1}], "type": "object"}, {"a": 1}, []),
        ({"type": "array", "maxItems": 1}, [1, 2], ["spec.x: Too many: 2: must have at most 1 item"]),
        (
            {"type": "array", "minItems": 1},
            [],
            ["spec.x: Invalid value: 0: spec.x in body should have at least 1 items"],
        ),
        (
            {"type": "array", "items": {"type": "string"}},
            ["a", 1],
            ['spec.x[1]: Invalid value: "integer": spec.x[1] in body must be of type string: "integer"'],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "set"},
            ["a", "b", "a", "a"],
            ['spec.x[2]: Duplicate value: "a"'],
        ),
        ({"type": "array", "x-kubernetes-list-type": "set"}, [1, True], []),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"]},
            [{"a": 1}, {"a": 1, "b": 2}, {"a": 1}],
            ['spec.x[2]: Duplicate value: {"a":1}'],
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]},
            ["a"],
            ['spec.x[0]: Invalid value: "a": must be an object for an array of list-type map'],
        ),
        ({"type": "object", "required": ["a"]}, {}, ["spec.x.a: Required value"]),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"k": 1},
            ['spec.x.k: Invalid value: "integer": spec.x.k in body must be of type string: "integer"'],
        ),
        (
            {"type": "object", "maxProperties": 1},
            {"a": 1, "b": 2},
            ["spec.x: Too many: 2: must have at most 1 item"],
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            {"kind": "X"},
            ["spec.x.apiVersion: Required value: must not be empty"],
        ),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, []),
        (
            {"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]},
            3,
            [
                '<nil>: Invalid value: "": "spec.x" must validate at least one schema (anyOf)',
                "spec.x: Invalid value: 3: spec.x in body should be greater than or equal to 5",
            ],
        ),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            3,
            [
                '<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). '
                "Found 2 valid alternatives"
            ],
        ),
        (
            {"type": "string", "not": {"enum": ["a"]}},
            "a",
            ['<nil>: Invalid value: "": "spec.x" must not validate the schema (not)'],
        ),
        (
            {"type": "integer", "allOf": [{"minimum": 5}, {"maximum": 9}]},
            3,
            [
                "spec.x: Invalid value: 3: spec.x in body should be greater than or equal to 5",
                '<nil>: Invalid value: "": "spec.x" must validate all the schemas (allOf)',
            ],
        ),
    ],
)
def test_validation_says_what_a_real_server_says(schema, value, expected):
    assert messages(spec(x=schema), {"spec": {"x": value}}) == expected


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-01-02T03:04:05.6Z", "2026-01-02"),
        ("date", "2026-01-02", "2026-02-30"),
        ("duration", "1h30m", "1 parsec"),
        ("byte", "aGk=", "aGk"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("mac", "00:1b:44:11:3a:b7", "00:1b"),
        ("uri", "https://example.com/a", "example"),
        ("email", "a@example.com", "a.example.com"),
        ("hostname", "a.example.com", "-a"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("uuid4", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"),
        ("hexcolor", "#ff0000", "#ff"),
        ("rgbcolor", "rgb(1,2,3)", "rgb(1,2,256)"),
        ("isbn", "978-0321751041", "978-0321751042"),
        ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("k8s-short-name", "my-name", "My-Name"),
    ],
)
def test_formats(name, good, bad):
    schema = spec(x={"type": "string", "format": name})
    assert messages(schema, {"spec": {"x": good}}) == []
    quoted = f'"{bad}"'
    assert messages(schema, {"spec": {"x": bad}}) == [
        f"spec.x: Invalid value: {quoted}: spec.x in body must be of type {name}: {quoted}"
    ]


def test_unknown_formats_are_ignored_as_upstream_does():
    assert messages(spec(x={"type": "string", "format": "poem"}), {"spec": {"x": "a"}}) == []


def test_a_pattern_cannot_take_more_than_linear_time():
    schema = spec(x={"type": "string", "pattern": "^(a+)+$"})
    assert len(schema.validate({"spec": {"x": "a" * 100_000 + "b"}})) == 1


def test_a_bad_pattern_is_the_schemas_fault():
    with pytest.raises(SchemaError, match="cannot be compiled"):
        spec(x={"type": "string", "pattern": "("}).validate({"spec": {"x": "a"}})


def test_errors_stand_below_the_given_path():
    schema = compile_schema({"type": "object", "required": ["a"]})
    assert [str(error) for error in schema.validate({}, Path("spec").index(3))] == [
        "spec[3].a: Required value"
    ]


def test_too_deep_values_are_refused():
    value: dict[str, object] = {}
    for _ in range(5000):
        value = {"a": value}
    schema = compile_schema({"x-kubernetes-preserve-unknown-fields": True})
    assert "nested more than 128 levels deep" in str(schema.validate(value)[0])
    assert "nested more than 128 levels deep" in str(schema.check(value).errors[0])


def test_errors_of_unchanged_parts_are_left_out():
    items = {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}
    schema = spec(
        a={"type": "integer", "maximum": 1},
        b={"type": "integer", "maximum": 1},
        named={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": items
            | {"properties": {**items["properties"], "port": {"type": "integer", "maximum": 1}}},
        },
        plain={"type": "array", "items": {"type": "integer", "maximum": 1}},
    )
    old = {"spec": {"a": 5, "b": 5, "named": [{"name": "x", "port": 9}], "plain": [7]}}
    new = {
        "spec": {
            "a": 5,
            "b": 6,
            "named": [{"name": "y", "port": 1}, {"name": "x", "port": 9}],
            "plain": [7, 8],
        }
    }
    assert [str(error.path) for error in schema.validate(new, old=old)] == [
        "spec.b",
        "spec.plain[0]",
        "spec.plain[1]",
    ]


PRUNED = compile_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "known": {"type": "string"},
                    "list": {"type": "array", "items": {"type": "object", "properties": {"a": {}}}},
                    "map": {
                        "type": "object",
                        "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}},
                    },
                    "open": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                        "properties": {"closed": {"type": "object", "properties": {}}},
                    },
                    "embedded": {
                        "type": "object",
                        "x-kubernetes-embedded-resource": True,
                        "properties": {"spec": {"type": "object"}},
                    },
                },
            }
        },
    }
)


def test_unknown_fields_are_pruned_and_reported():
    obj = {
        "apiVersion": "x/v1",
        "kind": "X",
        "metadata": {"name": "a", "whatever": 1},
        "extra": 1,
        "spec": {
            "known": "a",
            "unknown": {"a": 1},
            "list": [{"a": {"anything": 1}}, {"b": 1}],
            "map": {"k": {"a": "", "b": 1}},
            "open": {"x": {"y": 1}, "closed": {"z": 1}},
            "embedded": {"apiVersion": "v1", "kind": "Y", "metadata": {"n": 1}, "spec": {"s": 1}, "t": 1},
        },
    }
    before = copy.deepcopy(obj)
    pruned, unknown = PRUNED.prune(obj)
    assert obj == before
    assert unknown == [
        "extra",
        "spec.embedded.spec.s",
        "spec.embedded.t",
        "spec.list[1].b",
        "spec.map.k.b",
        "spec.open.closed.z",
        "spec.unknown",
    ]
    assert pruned == {
        "apiVersion": "x/v1",
        "kind": "X",
        "metadata": {"name": "a", "whatever": 1},
        "spec": {
            "known": "a",
            "list": [{"a": {"anything": 1}}, {}],
            "map": {"k": {"a": ""}},
            "open": {"x": {"y": 1}, "closed": {}},
            "embedded": {"apiVersion": "v1", "kind": "Y", "metadata": {"n": 1}, "spec": {}},
        },
    }


def test_nothing_is_copied_where_nothing_is_pruned():
    obj = {"spec": {"known": "a", "list": [{"a": 1}]}}
    assert PRUNED.prune(obj)[0] is obj


DEFAULTED = compile_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "default": {"b": 5},
                "properties": {
                    "a": {"type": "string", "default": "x"},
                    "b": {"type": "integer"},
                    "n": {"type": "string", "nullable": True, "default": "y"},
                    "list": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"p": {"type": "string", "default": "TCP"}},
                        },
                    },
                    "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
                },
            }
        },
    }
)


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({}, {"spec": {"b": 5, "a": "x", "n": "y"}}),
        ({"spec": {"a": "z", "n": "z"}}, {"spec": {"a": "z", "n": "z"}}),
        ({"spec": {"a": None, "n": None, "b": None}}, {"spec": {"a": "x", "n": None}}),
        (
            {"spec": {"n": "", "list": [{}, {"p": "UDP"}]}},
            {"spec": {"n": "", "a": "x", "list": [{"p": "TCP"}, {"p": "UDP"}]}},
        ),
        ({"spec": {"a": "", "n": "", "map": {"k": None}}}, {"spec": {"a": "", "n": "", "map": {"k": 7}}}),
    ],
)
def test_defaults(obj, expected):
    before = copy.deepcopy(obj)
    assert DEFAULTED.default(obj) == expected
    assert obj == before


def test_nothing_is_copied_where_nothing_is_filled_in():
    obj = {"spec": {"a": "z", "n": "z"}}
    assert DEFAULTED.default(obj) is obj


def test_checking_prunes_fills_in_and_validates():
    checked = DEFAULTED.check({"spec": {"b": "x", "unknown": 1}})
    assert checked.obj == {"spec": {"b": "x", "a": "x", "n": "y"}}
    assert checked.unknown == ("spec.unknown",)
    assert [str(error.path) for error in checked.errors] == ["spec.b"]


DEFINITIONS = {
    "tree": {"type": "object", "properties": {"value": {"type": "integer"}, "child": {"$ref": "tree"}}},
    "wrapped": {"type": "object", "properties": {"tree": {"allOf": [{"$ref": "tree"}], "description": "d"}}},
    "loop": {"$ref": "loop"},
}


def test_references_are_followed_when_reached():
    schema = compile_schema({"$ref": "wrapped"}, DEFINITIONS.__getitem__)
    obj = {"tree": {"child": {"child": {"value": "x", "other": 1}}}}
    assert [str(error.path) for error in schema.validate(obj)] == ["tree.child.child.value"]
    assert schema.prune(obj)[1] == ["tree.child.child.other"]


def test_references_in_a_circle_are_refused():
    with pytest.raises(SchemaError, match="circle"):
        compile_schema({"$ref": "loop"}, DEFINITIONS.__getitem__)


def test_references_without_resolver_are_refused():
    with pytest.raises(SchemaError, match="cannot be followed"):
        Node({"properties": {"a": {"$ref": "x"}}}).property("a")
