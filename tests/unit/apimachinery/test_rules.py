import pytest

from hortator.apimachinery.fielderrors import Path
from hortator.apimachinery.rules import check_rules
from hortator.apimachinery.schema import compile_schema


def schema(*rules, kind="object", **rest):
    spec = {"type": kind, "x-kubernetes-validations": list(rules), **rest}
    return compile_schema({"type": "object", "properties": {"spec": spec}})


def messages(compiled, spec, old=None):
    found = compiled.validate({"spec": spec}, old=None if old is None else {"spec": old})
    return [str(error) for error in found]


INTS = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}


def test_a_rule_that_holds_says_nothing():
    assert messages(schema({"rule": "self.a < self.b"}, **INTS), {"a": 1, "b": 2}) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": "self.a < self.b"}, "spec: Invalid value: failed rule: self.a < self.b"),
        ({"rule": "self.a < self.b", "message": " a must be less "}, "spec: Invalid value: a must be less"),
        (
            {"rule": "self.a < self.b", "messageExpression": "'a is %d'.format([self.a])"},
            "spec: Invalid value: a is 2",
        ),
        (
            {"rule": "self.a < self.b", "message": "m", "messageExpression": "self.zzz"},
            "spec: Invalid value: m",
        ),
        ({"rule": "self.a < self.b", "message": "m", "messageExpression": "''"}, "spec: Invalid value: m"),
        ({"rule": "self.a < self.b", "message": "m", "reason": "FieldValueForbidden"}, "spec: Forbidden: m"),
        (
            {"rule": "self.a < self.b", "message": "m", "reason": "FieldValueRequired"},
            "spec: Required value: m",
        ),
        ({"rule": "self.a < self.b", "message": "m", "fieldPath": ".a"}, "spec.a: Invalid value: m"),
        ({"rule": "self.a < self.b", "message": "m", "fieldPath": "['a']"}, "spec.a: Invalid value: m"),
        (
            {"rule": "self.c == 1"},
            'spec: Invalid value: "object": no such key: c evaluating rule: self.c == 1',
        ),
        (
            {"rule": "self.a + 'x' == 1"},
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported "
            "operator, function or macro signature for rule: self.a + 'x' == 1",
        ),
    ],
)
def test_what_a_broken_rule_says(rule, expected):
    assert messages(schema(rule, **INTS), {"a": 2, "b": 1}) == [expected]


def test_scalars_are_shown():
    assert messages(schema({"rule": "self > 1"}, kind="integer"), 1) == [
        "spec: Invalid value: 1: failed rule: self > 1"
    ]


def test_rules_apply_to_items_and_entries():
    compiled = schema(
        properties={
            "list": {
                "type": "array",
                "items": {
                    "type": "string",
                    "x-kubernetes-validations": [{"rule": "self != 'x'", "message": "m"}],
                },
            },
            "map": {
                "type": "object",
                "additionalProperties": {
                    "type": "integer",
                    "x-kubernetes-validations": [{"rule": "self > 0", "message": "m"}],
                },
            },
        }
    )
    assert messages(compiled, {"list": ["a", "x"], "map": {"k": 0, "l": 1}}) == [
        'spec.list[1]: Invalid value: "x": m',
        "spec.map[k]: Invalid value: 0: m",
    ]


def test_rules_in_all_of_apply():
    compiled = schema(allOf=[{"x-kubernetes-validations": [{"rule": "self.a > 5", "message": "m"}]}], **INTS)
    assert messages(compiled, {"a": 1}) == ["spec: Invalid value: m"]


def test_transition_rules_need_an_old_value():
    compiled = schema({"rule": "self.a == oldSelf.a", "message": "immutable"}, **INTS)
    assert messages(compiled, {"a": 1}) == []
    assert messages(compiled, {"a": 1}, {"a": 1}) == []
    assert messages(compiled, {"a": 2}, {"a": 1}) == ["spec: Invalid value: immutable"]


def test_optional_old_self_is_always_there():
    compiled = schema(
        {
            "rule": "!oldSelf.hasValue() || oldSelf.value().a <= self.a",
            "optionalOldSelf": True,
            "message": "m",
        },
        **INTS,
    )
    assert messages(compiled, {"a": 1}) == []
    assert messages(compiled, {"a": 1}, {"a": 2}) == ["spec: Invalid value: m"]


def test_items_of_list_maps_have_an_old_value_and_others_do_not():
    rules = [{"rule": "self.port >= oldSelf.port", "message": "m"}]
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
        "x-kubernetes-validations": rules,
    }
    compiled = schema(
        properties={
            "named": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": item,
            },
            "plain": {"type": "array", "items": item},
        }
    )
    old = {"named": [{"name": "a", "port": 5}], "plain": [{"name": "a", "port": 5}]}
    new = {
        "named": [{"name": "b", "port": 1}, {"name": "a", "port": 4}],
        "plain": [{"name": "a", "port": 4}],
    }
    assert messages(compiled, new, old) == ["spec.named[1]: Invalid value: m"]


def test_broken_rules_on_unchanged_values_are_left_out():
    compiled = schema(
        {"rule": "self.a < 1", "message": "m"},
        properties={"a": {"type": "integer"}, "b": {"type": "integer"}},
    )
    assert messages(compiled, {"a": 5}, {"a": 5}) == []
    assert messages(compiled, {"a": 5, "b": 1}, {"a": 5}) == ["spec: Invalid value: m"]


@pytest.mark.parametrize("value", ["x", 3], ids=["type", "enum"])
def test_rules_are_not_run_on_values_that_their_schema_refuses(value):
    compiled = schema({"rule": "self.a < 1"}, properties={"a": {"type": "integer", "enum": [1, 2]}})
    assert messages(compiled, {"a": value})[-1:] == [
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation"
    ]


def test_null_is_not_checked_by_its_own_rules():
    compiled = schema(
        properties={
            "n": {"type": "string", "nullable": True, "x-kubernetes-validations": [{"rule": "self != ''"}]}
        }
    )
    assert messages(compiled, {"n": None}) == []


def test_values_have_the_types_of_their_formats():
    compiled = schema(
        {"rule": "self.time < timestamp('2027-01-01T00:00:00Z')"},
        {"rule": "self.wait <= duration('1h')"},
        {"rule": "self.ratio + 1.0 > 1.0"},
        {"rule": "size(self.data) == 2"},
        {"rule": "self.tags == ['b', 'a']"},
        {"rule": "type(self.either) == string || self.either > 0"},
        properties={
            "time": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"},
            "ratio": {"type": "number"},
            "data": {"type": "string", "format": "byte"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "either": {"x-kubernetes-int-or-string": True},
        },
    )
    value = {
        "time": "2026-01-01T00:00:00Z",
        "wait": "30m",
        "ratio": 1,
        "data": "aGk=",
        "tags": ["a", "b"],
        "either": "50%",
    }
    assert messages(compiled, value) == []


def test_the_rules_of_one_object_share_a_budget():
    rule = {"rule": "self.list.all(a, self.list.all(b, a + b >= 0))", "message": "m"}
    compiled = schema(*[rule] * 20, properties={"list": {"type": "array", "items": {"type": "integer"}}})
    found = messages(compiled, {"list": list(range(300))})
    assert found == [
        "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': "
        "no further validation rules will be run due to call cost exceeds limit for rule: m"
    ]


def test_rules_are_checked_with_the_definition():
    raw = {
        "type": "object",
        "properties": {
            "a": {
                "type": "array",
                "items": {
                    "type": "string",
                    "x-kubernetes-validations": [
                        {"rule": "self == "},
                        {"rule": ""},
                        {"rule": "'a' + 'b'"},
                        {"rule": "true", "messageExpression": "1"},
                        {"rule": "nope(self)"},
                        {"rule": "self == 'a'", "messageExpression": "'fine'"},
                    ],
                },
            }
        },
    }
    errors = check_rules(compile_schema(raw), Path("schema"))
    base = "schema.properties[a].items.x-kubernetes-validations"
    assert [str(error.path) for error in errors] == [
        f"{base}[0].rule",
        f"{base}[1].rule",
        f"{base}[2].rule",
        f"{base}[3].messageExpression",
        f"{base}[4].rule",
    ]
    assert "compilation failed: ERROR: <input>:1:9" in errors[0].detail
    assert "must evaluate to a bool" in errors[2].detail
