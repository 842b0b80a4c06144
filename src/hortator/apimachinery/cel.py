"""CEL, the Common Expression Language, as Kubernetes uses it: from an expression to a value.

An expression is compiled once into closures and evaluated many times (about a microsecond for a typical rule). It runs
on plain JSON values; every evaluation has a budget of steps, so that nothing untrusted can run for long. There is no
static type check: what the types do not allow fails when evaluated, as in cel-go for ``dyn`` values. How rules of
schemas are applied to objects is left to :mod:`hortator.apimachinery.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery import cel_kubernetes
from hortator.apimachinery.cel_library import FUNCTIONS, METHODS, pattern, sort_by, to_int
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
    Duration,
    MapList,
    Meter,
    Optional,
    SetList,
    Timestamp,
    UInt,
    compare,
    equal,
    no_overload,
)

__all__ = ["STEPS_PER_CALL", "CelBudgetError", "CelError", "Meter", "Rule", "compile_rule"]

#: Steps that one evaluation may take; well under a second.
STEPS_PER_CALL = 1_000_000

_LIBRARIES = (cel_kubernetes,)

_Env = dict[str, Any]
_Run = Callable[[_Env], Any]
_TYPES = {
    name: CelType(name)
    for name in ("bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type")
} | {"timestamp": CelType("google.protobuf.Timestamp"), "duration": CelType("google.protobuf.Duration")}

#: The entry of an environment that holds the meter; no variable can be called so.
_METER = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled expression."""

    text: str
    #: The variables that the expression mentions.
    variables: frozenset[str]
    #: The type that every result has, where that can be seen from the expression: ``bool``, ``string``, …, or "".
    result_type: str
    _run: _Run

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
        variables[_METER] = meter or Meter(STEPS_PER_CALL)
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

_ESCAPED = re.compile(r"__([^_]+)__")
_UNESCAPED = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}


def _unescape(name: str) -> str:
    """Return the field that an escaped identifier stands for (``foo__dash__bar``, ``__namespace__``)."""
    whole = re.fullmatch(r"__([a-z]+)__", name)
    if whole and whole[1] not in _UNESCAPED:
        return whole[1]
    return _ESCAPED.sub(lambda match: _UNESCAPED.get(match[1], match[0]), name)


class _Compiler:
    """Turns trees into closures; ``bound`` are the variables of the macros around a place."""

    def __init__(self, text: str, variables: frozenset[str]):
        self.text = text
        self.variables = variables
        self.used: set[str] = set()

    def error(self, at: int, message: str) -> CelError:
        return syntax_error(self.text, at, message)

    def compile(self, expression: Expr, bound: frozenset[str]) -> _Run:
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

    def name(self, expression: Ident, bound: frozenset[str]) -> _Run:
        name = expression.name
        if name in bound or name in self.variables:
            if name not in bound:
                self.used.add(name)

            def run(env: _Env) -> Any:
                try:
                    return env[name]
                except KeyError:
                    raise CelError(f"no such attribute(s): {name}") from None

            return run
        if name in _TYPES:
            kind = _TYPES[name]
            return lambda env: kind
        raise self.error(expression.at, f"undeclared reference to '{name}' (in container '')")

    def select(self, expression: Select, bound: frozenset[str]) -> _Run:
        operand = self.compile(expression.operand, bound)
        name = expression.field
        if expression.optional:
            return lambda env: _optional_entry(operand(env), name)
        return lambda env: _member(operand(env), name)

    def index(self, expression: Index, bound: frozenset[str]) -> _Run:
        operand, key = self.compile(expression.operand, bound), self.compile(expression.key, bound)
        if expression.optional:
            return lambda env: _optional_entry(operand(env), key(env))
        return lambda env: _entry(operand(env), key(env))

    def list(self, expression: ListExpr, bound: frozenset[str]) -> _Run:
        items = [self.compile(item, bound) for item in expression.items]
        if not expression.optional:
            return lambda env: [item(env) for item in items]
        marked = [(index in expression.optional, item) for index, item in enumerate(items)]

        def run(env: _Env) -> list[Any]:
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

    def map(self, expression: MapExpr, bound: frozenset[str]) -> _Run:
        entries = [
            (index in expression.optional, self.compile(key, bound), self.compile(value, bound))
            for index, (key, value) in enumerate(expression.entries)
        ]

        def run(env: _Env) -> dict[Any, Any]:
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

    def call(self, call: Call, bound: frozenset[str]) -> _Run:
        if call.target is None:
            if call.name == "has":
                return self.has(call, bound)
            if (operator := _OPERATORS.get(call.name)) is not None:
                return operator([self.compile(arg, bound) for arg in call.args])
            return self.function(call, call.name, call.args, FUNCTIONS, bound)
        if isinstance(call.target, Ident) and call.target.name not in (bound | self.variables):
            qualified = f"{call.target.name}.{call.name}"
            if (qualified, len(call.args)) in FUNCTIONS:
                return self.function(call, qualified, call.args, FUNCTIONS, bound)
        if call.name in _MACROS and (macro := self.macro(call, bound)) is not None:
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
    ) -> _Run:
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
            return lambda env: body(env[_METER], only(env))
        if len(runs) == 2:
            first, second = runs
            return lambda env: body(env[_METER], first(env), second(env))
        return lambda env: body(env[_METER], *[run(env) for run in runs])

    def has(self, call: Call, bound: frozenset[str]) -> _Run:
        if len(call.args) != 1 or not isinstance(call.args[0], Select):
            raise self.error(call.at, "invalid argument to has() macro")
        operand, name = self.compile(call.args[0].operand, bound), call.args[0].field
        return lambda env: _has(operand(env), name)

    def optional_map(self, call: Call, bound: frozenset[str]) -> _Run:
        name = self.variable(call.args[0])
        operand = self.compile(call.target or call, bound)
        body = self.compile(call.args[1], bound | {name})
        flat = call.name == "optFlatMap"

        def run(env: _Env) -> Optional:
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

    def optional_or(self, call: Call, bound: frozenset[str]) -> _Run:
        operand, other = self.compile(call.target or call, bound), self.compile(call.args[0], bound)
        unwrap = call.name == "orValue"

        def run(env: _Env) -> Any:
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

    def macro(self, call: Call, bound: frozenset[str]) -> _Run | None:
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
        return _MACROS[name](_Loop(operand, variables, cost), condition, body)


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Optional):
        return _optional_entry(value, name)
    if not isinstance(value, dict):
        raise no_overload(value)
    if name in value:
        return value[name]
    if "__" in name and (field := _unescape(name)) in value:
        return value[field]
    raise CelError(f"no such key: {name}")


def _has(value: Any, name: str) -> bool:
    if isinstance(value, Optional):
        return value.present and _has(value.value, name)
    if not isinstance(value, dict):
        raise no_overload(value)
    return name in value or ("__" in name and _unescape(name) in value)


def _position(key: Any) -> int:
    if isinstance(key, float) and key.is_integer():
        return int(key)
    if not isinstance(key, int) or isinstance(key, bool):
        raise no_overload(key)
    return key


def _entry(value: Any, key: Any) -> Any:
    if isinstance(value, Optional):
        return _optional_entry(value, key)
    if isinstance(value, list):
        index = _position(key)
        if not 0 <= index < len(value):
            raise CelError(f"index out of bounds: {index}")
        return value[index]
    if not isinstance(value, dict):
        raise no_overload(value)
    if isinstance(key, (list, dict)) or key not in value or _mixed(value, key):
        raise CelError(f"no such key: {key}")
    return value[key]


def _mixed(value: dict[Any, Any], key: Any) -> bool:
    """Say whether a map has the key only because Python takes true for 1."""
    if not isinstance(key, (bool, int)) or isinstance(key, UInt):
        return False
    return not any(each == key and isinstance(each, bool) == isinstance(key, bool) for each in value)


def _optional_entry(value: Any, key: Any) -> Optional:
    if isinstance(value, Optional):
        return _optional_entry(value.value, key) if value.present else value
    if isinstance(value, list):
        index = _position(key)
        return Optional(True, value[index]) if 0 <= index < len(value) else Optional()
    if not isinstance(value, dict):
        raise no_overload(value)
    try:
        return Optional(True, _member(value, key) if isinstance(key, str) else _entry(value, key))
    except CelError:
        return Optional()


# Operators: each takes the compiled operands and returns what runs.


def _truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_overload(value)


def _logical(runs: list[_Run], *, decisive: bool) -> _Run:
    """Make ``||`` (decisive true) or ``&&``: a decisive operand wins even over a failing one, on either side."""

    def run(env: _Env) -> bool:
        failure: CelError | None = None
        for operand in runs:
            try:
                if _truth(operand(env)) is decisive:
                    return decisive
            except CelBudgetError:
                raise
            except CelError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return not decisive

    return run


def _conditional(runs: list[_Run]) -> _Run:
    condition, chosen, other = runs
    return lambda env: chosen(env) if _truth(condition(env)) else other(env)


def _negation(runs: list[_Run]) -> _Run:
    operand = runs[0]
    return lambda env: not _truth(operand(env))


def _minus(runs: list[_Run]) -> _Run:
    operand = runs[0]

    def run(env: _Env) -> Any:
        value = operand(env)
        if isinstance(value, Duration):
            return Duration(-value.nanos)
        if isinstance(value, (bool, UInt)) or not isinstance(value, (int, float)):
            raise no_overload(value)
        return -value if isinstance(value, float) else to_int(-value)

    return run


def _binary(operation: Callable[[Any, Any, Meter], Any]) -> Callable[[list[_Run]], _Run]:
    def make(runs: list[_Run]) -> _Run:
        left, right = runs
        return lambda env: operation(left(env), right(env), env[_METER])

    return make


def _contains(item: Any, container: Any, meter: Meter) -> bool:
    if isinstance(container, dict):
        meter.spend(1)
        if isinstance(item, (list, dict)):
            raise no_overload(item)
        return item in container and not _mixed(container, item)
    if not isinstance(container, list):
        raise no_overload(container)
    meter.spend(1 + len(container))
    return any(equal(item, each, meter) for each in container)


def _same_number(left: Any, right: Any) -> type:
    kind = type(left)
    if kind is not type(right) or kind not in (int, UInt, float):
        raise no_overload(left, right)
    return kind


def _bounded(number: Any, kind: type) -> Any:
    if kind is float:
        return number
    if kind is UInt:
        if not 0 <= number < 2**64:
            raise CelError("unsigned integer overflow")
        return UInt(number)
    return to_int(number)


def _plus(left: Any, right: Any, meter: Meter) -> Any:
    if type(left) is int and type(right) is int:
        return to_int(left + right)
    if isinstance(left, (str, bytes)) and type(left) is type(right):
        meter.spend(1 + (len(left) + len(right)) // 32)
        return left + right  # type: ignore[operator]
    if isinstance(left, list) and isinstance(right, list):
        return _joined(left, right, meter)
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return Timestamp(left.nanos + right.nanos)
    if isinstance(left, Duration) and isinstance(right, Timestamp):
        return Timestamp(left.nanos + right.nanos)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return Duration(left.nanos + right.nanos)
    kind = _same_number(left, right)
    return _bounded(left + right, kind)


def _joined(left: list[Any], right: list[Any], meter: Meter) -> list[Any]:
    """Join lists; sets and list maps as their types say: items of the right side replace those they equal."""
    meter.spend(1 + len(left) + len(right))
    if isinstance(left, SetList):
        meter.spend(len(left) * len(right))
        return SetList(
            [*left, *(each for each in right if not any(equal(each, other, meter) for other in left))]
        )
    if isinstance(left, MapList):
        theirs = {left.identify(each): each for each in right}
        merged = [theirs.pop(left.identify(each), each) for each in left]
        return MapList([*merged, *theirs.values()], left.keys)
    return [*left, *right]


def _difference(left: Any, right: Any, meter: Meter) -> Any:
    if isinstance(left, Timestamp) and isinstance(right, Timestamp):
        return Duration(left.nanos - right.nanos)
    if isinstance(left, Timestamp) and isinstance(right, Duration):
        return Timestamp(left.nanos - right.nanos)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return Duration(left.nanos - right.nanos)
    kind = _same_number(left, right)
    return _bounded(left - right, kind)


def _product(left: Any, right: Any, meter: Meter) -> Any:
    kind = _same_number(left, right)
    return _bounded(left * right, kind)


def _quotient(left: Any, right: Any, meter: Meter) -> Any:
    kind = _same_number(left, right)
    if kind is float:
        if right == 0:
            return float("nan") if left == 0 or left != left else float("inf") * (1 if left > 0 else -1)
        return left / right
    if right == 0:
        raise CelError("division by zero")
    whole = abs(left) // abs(right)
    return _bounded(whole if (left < 0) == (right < 0) else -whole, kind)


def _remainder(left: Any, right: Any, meter: Meter) -> Any:
    kind = _same_number(left, right)
    if kind is float:
        raise no_overload(left, right)
    if right == 0:
        raise CelError("modulus by zero")
    rest = abs(left) % abs(right)
    return _bounded(-rest if left < 0 else rest, kind)


_OPERATORS: dict[str, Callable[[list[_Run]], _Run]] = {
    "||": lambda runs: _logical(runs, decisive=True),
    "&&": lambda runs: _logical(runs, decisive=False),
    "?:": _conditional,
    "!": _negation,
    "neg": _minus,
    "==": _binary(equal),
    "!=": _binary(lambda left, right, meter: not equal(left, right, meter)),
    "<": _binary(lambda left, right, meter: compare(left, right, meter) < 0),
    "<=": _binary(lambda left, right, meter: compare(left, right, meter) <= 0),
    ">": _binary(lambda left, right, meter: compare(left, right, meter) > 0),
    ">=": _binary(lambda left, right, meter: compare(left, right, meter) >= 0),
    "in": _binary(_contains),
    "+": _binary(_plus),
    "-": _binary(_difference),
    "*": _binary(_product),
    "/": _binary(_quotient),
    "%": _binary(_remainder),
}


# Macros: comprehensions over lists and maps.


@dataclass(frozen=True, slots=True)
class _Loop:
    """What a macro runs over, the names of its variables, and what one round costs."""

    operand: _Run
    variables: tuple[str, ...]
    cost: int

    def rounds(self, env: _Env) -> Iterable[tuple[Any, _Env]]:
        """Yield each element (the key, for a map) with the environment of its round, which the next one changes."""
        value = self.operand(env)
        if not isinstance(value, (list, dict)):
            raise no_overload(value)
        meter: Meter = env[_METER]
        inner = dict(env)
        pairs = len(self.variables) == 2
        for position, element in enumerate(value):
            meter.spend(self.cost)
            if not pairs:
                inner[self.variables[0]] = element
            elif isinstance(value, dict):
                inner[self.variables[0]], inner[self.variables[1]] = element, value[element]
            else:
                inner[self.variables[0]], inner[self.variables[1]] = position, element
            yield element, inner


_Macro = Callable[[_Loop, _Run | None, _Run], _Run]


def _quantifier(*, decisive: bool) -> _Macro:
    """Make ``exists`` (decisive true) or ``all``; a deciding element wins over failing ones."""

    def make(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
        def run(env: _Env) -> bool:
            failure: CelError | None = None
            for _, inner in loop.rounds(env):
                try:
                    if _truth(body(inner)) is decisive:
                        return decisive
                except CelBudgetError:
                    raise
                except CelError as error:
                    failure = failure or error
            if failure is not None:
                raise failure
            return not decisive

        return run

    return make


def _exactly_one(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
    return lambda env: sum(_truth(body(inner)) for _, inner in loop.rounds(env)) == 1


def _filtered(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
    return lambda env: [element for element, inner in loop.rounds(env) if _truth(body(inner))]


def _mapped(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
    def run(env: _Env) -> list[Any]:
        return [body(inner) for _, inner in loop.rounds(env) if condition is None or _truth(condition(inner))]

    return run


def _sorted(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
    def run(env: _Env) -> list[Any]:
        values, keys = [], []
        for element, inner in loop.rounds(env):
            values.append(element)
            keys.append(body(inner))
        return sort_by(env[_METER], values, keys)

    return run


def _mapped_values(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
    def run(env: _Env) -> dict[Any, Any]:
        return {
            inner[loop.variables[0]]: body(inner)
            for _, inner in loop.rounds(env)
            if condition is None or _truth(condition(inner))
        }

    return run


def _mapped_entries(loop: _Loop, condition: _Run | None, body: _Run) -> _Run:
    def run(env: _Env) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _, inner in loop.rounds(env):
            if condition is not None and not _truth(condition(inner)):
                continue
            entry = body(inner)
            if not isinstance(entry, dict):
                raise no_overload(entry)
            for key, value in entry.items():
                if key in result:
                    raise CelError(f"insert failed: key '{key}' already exists")
                result[key] = value
        return result

    return run


_MACROS: dict[str, _Macro] = {
    "all": _quantifier(decisive=False),
    "exists": _quantifier(decisive=True),
    "exists_one": _exactly_one,
    "existsOne": _exactly_one,
    "filter": _filtered,
    "map": _mapped,
    "sortBy": _sorted,
    "transformList": _mapped,
    "transformMap": _mapped_values,
    "transformMapEntry": _mapped_entries,
}
