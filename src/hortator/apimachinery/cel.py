"""CEL, the Common Expression Language, as Kubernetes uses it: from an expression to a value.

An expression is compiled once into closures and evaluated many times (about a microsecond for a typical rule). It runs
on plain JSON values; every evaluation has a budget of steps, so that nothing untrusted can run for long. There is no
static type check: what the types do not allow fails when evaluated, as in cel-go for ``dyn`` values. How rules of
schemas are applied to objects is left to :mod:`hortator.apimachinery.rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery import cel_kubernetes, cel_strings
from hortator.apimachinery.cel_library import FUNCTIONS, METHODS, pattern
from hortator.apimachinery.cel_macros import MACROS, Loop
from hortator.apimachinery.cel_operators import METER, OPERATORS, Env, Run, entry, has, member, optional_entry
from hortator.apimachinery.cel_parser import (
    Call,
    Expr,
    Ident,
    Index,
    ListExpr,
    Literal,
    MapExpr,
    Select,
    parse,
    syntax_error,
)
from hortator.apimachinery.cel_values import (
    CelBudgetError,
    CelError,
    CelType,
    Meter,
    Optional,
    UInt,
    no_overload,
)

__all__ = ["STEPS_PER_CALL", "CelBudgetError", "CelError", "Meter", "Rule", "compile_rule"]

#: Steps that one evaluation may take; well under a second.
STEPS_PER_CALL = 1_000_000

#: Importing these registers their functions.
_LIBRARIES = (cel_kubernetes, cel_strings)

_TYPES = {
    name: CelType(name)
    for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type")
} | {"timestamp": CelType("google.protobuf.Timestamp"), "duration": CelType("google.protobuf.Duration")}


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled expression."""

    text: str
    #: The variables that the expression mentions.
    variables: frozenset[str]
    #: The type that every result has, where that can be seen from the expression: ``bool``, ``string``, …, or "".
    result_type: str
    _run: Run

    @property
    def uses_old_self(self) -> bool:
        """Whether this is a transition rule, which compares with the value before."""
        return "oldSelf" in self.variables

    def evaluate(rule, /, *, meter: Meter | None = None, **variables: Any) -> Any:  # noqa: N805 - "self" is a variable
        """Return the expression's value; ``old_self`` is the variable ``oldSelf``.

        Raises CelError when evaluation fails, CelBudgetError (one of these) when it takes too many steps, counted by
        ``meter`` where several evaluations share one.
        """
        if "old_self" in variables:
            variables["oldSelf"] = variables.pop("old_self")
        variables[METER] = meter or Meter(STEPS_PER_CALL)
        try:
            return rule._run(variables)
        except RecursionError as error:
            raise CelError("expression recursion limit exceeded") from error


def compile_rule(text: str, *, variables: Iterable[str] = ("self", "oldSelf")) -> Rule:
    """Compile an expression that may use these variables. Raises CelError that shows the place of a mistake."""
    expression = parse(text)
    compiler = _Compiler(text, frozenset(variables))
    run = compiler.compile(expression, frozenset())
    return Rule(text, frozenset(compiler.used), _type_of(expression), run)


_BOOLEAN = frozenset(("||", "&&", "!", "==", "!=", "<", "<=", ">", ">=", "in", "has", "all", "exists"))
_BOOLEAN_METHODS = frozenset(
    ("all", "exists", "exists_one", "existsOne", "startsWith", "endsWith", "contains", "matches", "hasValue")
)
_CONVERSIONS = {
    "string": "string",
    "int": "int",
    "uint": "uint",
    "double": "double",
    "bool": "bool",
    "size": "int",
}


def _type_of(expression: Expr) -> str:
    """Return the type that an expression's value has for certain, or ""."""
    match expression:
        case Literal(value=value):
            return _CONSTANTS.get(type(value), "")
        case ListExpr():
            return "list"
        case MapExpr():
            return "map"
        case Call(name="?:", args=(_, chosen, other)):
            one = _type_of(chosen)
            return one if one == _type_of(other) else ""
        case Call(name="+", args=(left, right)):
            one = _type_of(left)
            return one if one == "string" and _type_of(right) == "string" else ""
        case Call(name=name, target=None):
            return "bool" if name in _BOOLEAN else _CONVERSIONS.get(name, "")
        case Call(name=name):
            if name in _BOOLEAN_METHODS:
                return "bool"
            return {"size": "int", "map": "list", "filter": "", "join": "string", "format": "string"}.get(
                name, ""
            )
    return ""


_CONSTANTS: dict[type, str] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null",
}


class _Compiler:
    """Turns trees into closures; ``bound`` are the variables of the macros around a place."""

    def __init__(self, text: str, variables: frozenset[str]):
        self.text = text
        self.variables = variables
        self.used: set[str] = set()

    def error(self, at: int, message: str) -> CelError:
        return syntax_error(self.text, at, message)

    def compile(self, expression: Expr, bound: frozenset[str]) -> Run:
        match expression:
            case Literal(value=value):
                return lambda env: value
            case Ident():
                return self.name(expression, bound)
            case Select():
                return self.select(expression, bound)
            case Index():
                return self.index(expression, bound)
            case ListExpr():
                return self.list(expression, bound)
            case MapExpr():
                return self.map(expression, bound)
            case Call():
                return self.call(expression, bound)
        raise self.error(expression.at, "unexpected expression")

    def name(self, expression: Ident, bound: frozenset[str]) -> Run:
        name = expression.name
        if name in bound or name in self.variables:
            if name not in bound:
                self.used.add(name)

            def run(env: Env) -> Any:
                try:
                    return env[name]
                except KeyError:
                    raise CelError(f"no such attribute(s): {name}") from None

            return run
        if name in _TYPES:
            kind = _TYPES[name]
            return lambda env: kind
        raise self.error(expression.at, f"undeclared reference to '{name}' (in container '')")

    def select(self, expression: Select, bound: frozenset[str]) -> Run:
        operand = self.compile(expression.operand, bound)
        name = expression.field
        if expression.optional:
            return lambda env: optional_entry(operand(env), name)
        return lambda env: member(operand(env), name)

    def index(self, expression: Index, bound: frozenset[str]) -> Run:
        operand, key = self.compile(expression.operand, bound), self.compile(expression.key, bound)
        if expression.optional:
            return lambda env: optional_entry(operand(env), key(env))
        return lambda env: entry(operand(env), key(env))

    def list(self, expression: ListExpr, bound: frozenset[str]) -> Run:
        items = [self.compile(item, bound) for item in expression.items]
        if not expression.optional:
            return lambda env: [item(env) for item in items]
        marked = [(index in expression.optional, item) for index, item in enumerate(items)]

        def run(env: Env) -> list[Any]:
            result = []
            for optional, item in marked:
                value = item(env)
                if not optional:
                    result.append(value)
                elif not isinstance(value, Optional):
                    raise no_overload(value)
                elif value.present:
                    result.append(value.value)
            return result

        return run

    def map(self, expression: MapExpr, bound: frozenset[str]) -> Run:
        entries = [
            (index in expression.optional, self.compile(key, bound), self.compile(value, bound))
            for index, (key, value) in enumerate(expression.entries)
        ]

        def run(env: Env) -> dict[Any, Any]:
            result = {}
            for optional, key, value in entries:
                name, content = key(env), value(env)
                if not isinstance(name, (str, int)):
                    raise CelError("unsupported key type")
                if optional:
                    if not isinstance(content, Optional):
                        raise no_overload(content)
                    if not content.present:
                        continue
                    content = content.value
                result[name] = content
            return result

        return run

    def call(self, call: Call, bound: frozenset[str]) -> Run:
        if call.target is None:
            if call.name == "has":
                return self.has(call, bound)
            if (operator := OPERATORS.get(call.name)) is not None:
                return operator([self.compile(arg, bound) for arg in call.args])
            return self.function(call, call.name, call.args, FUNCTIONS, bound)
        if isinstance(call.target, Ident) and call.target.name not in (bound | self.variables):
            qualified = f"{call.target.name}.{call.name}"
            if (qualified, len(call.args)) in FUNCTIONS:
                return self.function(call, qualified, call.args, FUNCTIONS, bound)
        if call.name in MACROS and (macro := self.macro(call, bound)) is not None:
            return macro
        if call.name in ("optMap", "optFlatMap") and len(call.args) == 2:
            return self.optional_map(call, bound)
        if call.name in ("or", "orValue") and len(call.args) == 1:
            return self.optional_or(call, bound)
        return self.function(call, call.name, (call.target, *call.args), METHODS, bound)

    def function(
        self,
        call: Call,
        name: str,
        args: tuple[Expr, ...],
        table: Mapping[tuple[str, int], Callable[..., Any]],
        bound: frozenset[str],
    ) -> Run:
        body = table.get((name, len(args)))
        if body is None:
            if call.target is not None:
                # An unknown receiver is the better thing to complain about.
                self.compile(call.target, bound)
            if any(known == name for known, _ in (*FUNCTIONS, *METHODS)):
                raise self.error(
                    call.at, f"found no matching overload for '{name}' with {len(args)} arguments"
                )
            raise self.error(call.at, f"undeclared reference to '{name}' (in container '')")
        if name in ("matches", "find", "findAll") and isinstance(args[1], Literal):
            if not isinstance(args[1].value, str):
                raise self.error(call.at, f"found no matching overload for '{name}'")
            pattern(args[1].value)
        runs = [self.compile(arg, bound) for arg in args]
        if len(runs) == 1:
            only = runs[0]
            return lambda env: body(env[METER], only(env))
        if len(runs) == 2:
            first, second = runs
            return lambda env: body(env[METER], first(env), second(env))
        return lambda env: body(env[METER], *[run(env) for run in runs])

    def has(self, call: Call, bound: frozenset[str]) -> Run:
        if len(call.args) != 1 or not isinstance(call.args[0], Select):
            raise self.error(call.at, "invalid argument to has() macro")
        operand, name = self.compile(call.args[0].operand, bound), call.args[0].field
        return lambda env: has(operand(env), name)

    def optional_map(self, call: Call, bound: frozenset[str]) -> Run:
        name = self.variable(call.args[0])
        operand = self.compile(call.target or call, bound)
        body = self.compile(call.args[1], bound | {name})
        flat = call.name == "optFlatMap"

        def run(env: Env) -> Optional:
            value = operand(env)
            if not isinstance(value, Optional):
                raise no_overload(value)
            if not value.present:
                return value
            result = body({**env, name: value.value})
            if not flat:
                return Optional(True, result)
            if not isinstance(result, Optional):
                raise no_overload(result)
            return result

        return run

    def optional_or(self, call: Call, bound: frozenset[str]) -> Run:
        operand, other = self.compile(call.target or call, bound), self.compile(call.args[0], bound)
        unwrap = call.name == "orValue"

        def run(env: Env) -> Any:
            value = operand(env)
            if not isinstance(value, Optional):
                raise no_overload(value)
            if not value.present:
                return other(env)
            return value.value if unwrap else value

        return run

    def variable(self, expression: Expr) -> str:
        if not isinstance(expression, Ident):
            raise self.error(expression.at, "argument must be a simple name")
        return expression.name

    def macro(self, call: Call, bound: frozenset[str]) -> Run | None:
        """Compile a comprehension; None when the arguments are not those of one."""
        name, args = call.name, call.args
        names = 2 if name.startswith("transform") or (len(args) == 3 and name not in ("map",)) else 1
        bodies = args[names:]
        allowed = (1, 2) if name in ("map", "transformList", "transformMap", "transformMapEntry") else (1,)
        if len(bodies) not in allowed or (name in ("filter", "sortBy") and names == 2):
            raise self.error(call.at, f"invalid arguments to the {name} macro")
        variables = tuple(self.variable(arg) for arg in args[:names])
        inner = bound | set(variables)
        operand = self.compile(call.target or call, bound)
        condition = self.compile(bodies[0], inner) if len(bodies) == 2 else None
        body = self.compile(bodies[-1], inner)
        cost = sum(each.size for each in bodies)
        return MACROS[name](Loop(operand, variables, cost), condition, body)
