"""CEL against Google's own engine, on random expressions that its type checker accepts."""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from hortator.apimachinery.cel import CelError, compile_rule

laws = settings(derandomize=True, deadline=None, max_examples=400, database=None)

TYPES = {
    "i": cel.Type.INT,
    "d": cel.Type.DOUBLE,
    "s": cel.Type.STRING,
    "b": cel.Type.BOOL,
    "l": cel.Type.List(cel.Type.INT),
    "m": cel.Type.Map(cel.Type.STRING, cel.Type.INT),
}
ENGINE = cel.NewEnv(variables=TYPES)

WORDS = st.sampled_from(["", "a", "b", "ab", "abc", "é", "10"])
INTEGERS = st.integers(-4, 12) | st.sampled_from([2**63 - 1, -(2**63)])
DOUBLES = st.sampled_from([0.0, 0.5, -1.5, 2.0, 1e300])


def joined(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: pattern.format(*found))


def expressions(depth: int) -> dict[str, st.SearchStrategy[str]]:
    """Expressions of each type, not deeper than that."""
    if depth == 0:
        return {
            "i": st.just("i") | INTEGERS.map(str),
            "d": st.just("d") | DOUBLES.map(repr),
            "s": st.just("s") | WORDS.map(lambda word: f"'{word}'"),
            "b": st.sampled_from(["b", "true", "false"]),
            "l": st.sampled_from(["l", "[1, 2, 3]", "[0]"]),
            "m": st.sampled_from(["m", "{'a': 1, 'b': 2}"]),
        }
    e = expressions(depth - 1)
    i, d, s, b, lists, m = (e[name] for name in "idsblm")
    sums, ordered = (
        st.sampled_from(["+", "-", "*", "/", "%"]),
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    )
    grown = {
        "i": (
            joined("({} {} {})", i, sums, i),
            joined("-({})", i),
            joined("size({})", s | lists | m),
            joined("{}[{}]", lists, i),
            joined("{}[{}]", m, s),
            joined("int({})", d | s),
            joined("({} ? {} : {})", b, i, i),
        ),
        "d": (
            joined("({} {} {})", d, st.sampled_from(["+", "-", "*", "/"]), d),
            joined("double({})", i | s),
        ),
        "s": (
            joined("({} + {})", s, s),
            joined("string({})", i | b),
            joined("({} ? {} : {})", b, s, s),
        ),
        "b": (
            joined("({} {} {})", i, ordered, i),
            joined("({} {} {})", d, ordered, d),
            joined("({} {} {})", s, ordered, s),
            joined("({} {} {})", b, st.sampled_from(["&&", "||", "==", "!="]), b),
            joined("!({})", b),
            joined("({} in {})", i, lists),
            joined("({} in {})", s, m),
            joined("{}.{}({})", s, st.sampled_from(["contains", "startsWith", "endsWith"]), s),
            joined("{}.matches('{}')", s, st.sampled_from(["^a", "b$", "[0-9]+", "a+b*"])),
            joined("{}.{}(x, x {} {})", lists, st.sampled_from(["all", "exists", "exists_one"]), ordered, i),
            joined("{}.{}(x, {} / x > 0)", lists, st.sampled_from(["all", "exists", "exists_one"]), i),
            joined("has(m.{})", st.sampled_from(["a", "zz"])),
            joined("({} == {})", lists, lists),
            joined("({} == {})", m, m),
        ),
        "l": (
            joined("({} + {})", lists, lists),
            joined("{}.filter(x, x {} {})", lists, ordered, i),
            joined("{}.map(x, x + {})", lists, i),
        ),
        "m": (),
    }
    return {name: st.one_of(found, *grown[name]) for name, found in e.items()}


VARIABLES = st.fixed_dictionaries(
    {
        "i": INTEGERS,
        "d": DOUBLES,
        "s": WORDS,
        "b": st.booleans(),
        "l": st.lists(st.integers(-2, 4), max_size=3),
        "m": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(-2, 4)),
    }
)
FAILED = "failed"


def theirs(text: str, variables: dict[str, Any]) -> Any:
    try:
        value = ENGINE.compile(text).eval(data=variables)
        return FAILED if value.type() == cel.Type.ERROR else value.plain_value()
    except (RuntimeError, ValueError):
        return FAILED


def ours(text: str, variables: dict[str, Any]) -> Any:
    try:
        return compile_rule(text, variables=TYPES).evaluate(**variables)
    except CelError:
        return FAILED


@laws
@given(st.one_of(*expressions(3).values()), VARIABLES)
def test_two_engines_find_the_same(text: str, variables: dict[str, Any]) -> None:
    expected, found = theirs(text, variables), ours(text, variables)
    assert shown(found) == shown(expected), text


def shown(value: Any) -> Any:
    """Tell 1 from 1.0 and true, and minus zero from zero; a map has no order."""
    return sorted(map(repr, value.items())) if isinstance(value, dict) else repr(value)
