"""Validation of structural schemas against another validator, on random schemas and values."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from hortator.apimachinery.schema import compile_schema

laws = settings(derandomize=True, deadline=None, max_examples=300, database=None)

NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["", "a", "ab", "aab", "é", "10", "a b"])
NUMBERS = st.integers(-5, 5) | st.sampled_from([0.5, 1.0, -2.5, 1e3])
VALUES = st.recursive(
    st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)
SIZES = st.integers(0, 3)


def options(kind: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=optional)


STRING = options(
    "string",
    minLength=SIZES,
    maxLength=SIZES,
    pattern=st.sampled_from(["^a", "b$", "^a+b?$", "[0-9]{2}", "^$"]),
    enum=st.lists(TEXTS, min_size=1, max_size=3, unique=True),
)
BOUNDS = {
    "minimum": st.integers(-4, 4),
    "maximum": st.integers(-4, 4),
    "multipleOf": st.sampled_from([1, 2, 5]),
}
NUMBER = options("integer", **BOUNDS) | options("number", **BOUNDS)
SCHEMAS = st.recursive(
    STRING | NUMBER | options("boolean"),
    lambda inner: (
        options("array", items=inner, minItems=SIZES, maxItems=SIZES)
        | options(
            "object",
            properties=st.dictionaries(NAMES, inner, max_size=3),
            required=st.lists(NAMES, min_size=1, max_size=2, unique=True),
            minProperties=SIZES,
            maxProperties=SIZES,
        )
        | options("object", additionalProperties=inner)
    ),
    max_leaves=6,
)
# What structural schemas allow inside of these: no types, only bounds.
BRANCHES = st.lists(
    st.fixed_dictionaries({}, optional={"minimum": SIZES, "minLength": SIZES, "minItems": SIZES}),
    min_size=1,
    max_size=3,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    schema = draw(SCHEMAS)
    logic = draw(st.none() | st.sampled_from(["allOf", "anyOf", "oneOf"]))
    if logic:
        schema = {**schema, logic: draw(BRANCHES)}
    return schema, draw(st.one_of(VALUES, fitting(schema)))


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the right type, so that bounds are reached."""
    kind = schema["type"]
    if kind == "object":
        fields = {name: fitting(each) for name, each in schema.get("properties", {}).items()}
        if not fields and "additionalProperties" in schema:
            return st.dictionaries(NAMES, fitting(schema["additionalProperties"]), max_size=3)
        return st.fixed_dictionaries({}, optional=fields)
    if kind == "array":
        return st.lists(fitting(schema["items"]) if "items" in schema else VALUES, max_size=4)
    simple = {"string": TEXTS, "boolean": st.booleans(), "integer": st.integers(-5, 5), "number": NUMBERS}
    return simple[kind]


@laws
@given(cases())
def test_two_validators_agree(case: tuple[dict[str, Any], Any]) -> None:
    schema, value = case
    wrapped = {"type": "object", "properties": {"v": schema}}
    ours = not compile_schema(wrapped).validate({"v": value})
    assert ours == jsonschema_rs.Draft4Validator(wrapped).is_valid({"v": value})
