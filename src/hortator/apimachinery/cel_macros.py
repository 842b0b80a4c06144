"""The macros of CEL that run over lists and maps: ``all``, ``exists``, ``filter``, ``map`` and their kin.

Each takes the loop and the compiled bodies and returns what runs. Every round pays for its body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hortator.apimachinery.cel_library import sort_by
from hortator.apimachinery.cel_operators import METER, Env, Run, truth
from hortator.apimachinery.cel_values import CelBudgetError, CelError, Meter, no_overload

__all__ = ["MACROS", "Loop"]


@dataclass(frozen=True, slots=True)
class Loop:
    """What a macro runs over, the names of its variables, and what one round costs."""

    operand: Run
    variables: tuple[str, ...]
    cost: int

    def rounds(self, env: Env) -> Iterable[tuple[Any, Env]]:
        """Yield each element (the key, for a map) with the environment of its round, which the next one changes."""
        value = self.operand(env)
        if not isinstance(value, (list, dict)):
            raise no_overload(value)
        meter: Meter = env[METER]
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


_Macro = Callable[[Loop, Run | None, Run], Run]


def _quantifier(*, decisive: bool) -> _Macro:
    """Make ``exists`` (decisive true) or ``all``; a deciding element wins over failing ones."""

    def make(loop: Loop, condition: Run | None, body: Run) -> Run:
        def run(env: Env) -> bool:
            failure: CelError | None = None
            for _, inner in loop.rounds(env):
                try:
                    if truth(body(inner)) is decisive:
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


def _exactly_one(loop: Loop, condition: Run | None, body: Run) -> Run:
    return lambda env: sum(truth(body(inner)) for _, inner in loop.rounds(env)) == 1


def _filtered(loop: Loop, condition: Run | None, body: Run) -> Run:
    return lambda env: [element for element, inner in loop.rounds(env) if truth(body(inner))]


def _mapped(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(env: Env) -> list[Any]:
        return [body(inner) for _, inner in loop.rounds(env) if condition is None or truth(condition(inner))]

    return run


def _sorted(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(env: Env) -> list[Any]:
        values, keys = [], []
        for element, inner in loop.rounds(env):
            values.append(element)
            keys.append(body(inner))
        return sort_by(env[METER], values, keys)

    return run


def _mapped_values(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(env: Env) -> dict[Any, Any]:
        return {
            inner[loop.variables[0]]: body(inner)
            for _, inner in loop.rounds(env)
            if condition is None or truth(condition(inner))
        }

    return run


def _mapped_entries(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(env: Env) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _, inner in loop.rounds(env):
            if condition is not None and not truth(condition(inner)):
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


MACROS: dict[str, _Macro] = {
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
