"""Which CPUs of the machine belong to which pod. Pure but for reading the machine's topology once.

A pod that asks for whole CPUs owns that many alone while there are enough; all others share the whole machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["CpuPool", "format_cpus", "neighbours"]


def format_cpus(cpus: Iterable[int]) -> str:
    """Write a set of CPUs as the kernel does: ``0-3,8``."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def neighbours(
    cpus: Iterable[int] | None = None, devices: Path = Path("/sys/devices/system")
) -> tuple[tuple[int, ...], ...]:
    """Return the usable CPUs as groups that share memory (NUMA nodes), siblings of a core side by side."""
    usable = set(os.sched_getaffinity(0) if cpus is None else cpus)
    groups: list[tuple[int, ...]] = []
    for path in sorted(devices.glob("node/node[0-9]*/cpulist"), key=lambda p: int(p.parent.name[4:])):
        members = _parse(path.read_text()) & usable
        usable -= members
        if members:
            groups.append(_by_core(members, devices))
    if usable:
        groups.append(_by_core(usable, devices))
    return tuple(groups)


def _by_core(cpus: set[int], devices: Path) -> tuple[int, ...]:
    def core(cpu: int) -> tuple[int, int]:
        try:
            text = (devices / f"cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            return cpu, cpu
        return min(_parse(text)), cpu

    return tuple(sorted(cpus, key=core))


def _parse(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


class CpuPool:
    """Hands out disjoint CPUs of one machine; shared by all its nodes."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        self._groups = [list(group) for group in groups]
        self._taken: dict[str, frozenset[int]] = {}

    @property
    def size(self) -> int:
        """How many CPUs there are in all."""
        return sum(map(len, self._groups))

    def take(self, owner: str, count: int) -> frozenset[int]:
        """Give ``owner`` that many CPUs of its own; an empty set when there are not enough. May be repeated.

        The group in which they fit most tightly is preferred; only if none has room are groups mixed.
        """
        if owner in self._taken:
            return self._taken[owner]
        if count < 1:
            return frozenset()
        busy: set[int] = set().union(*self._taken.values())
        free = [[cpu for cpu in group if cpu not in busy] for group in self._groups]
        if sum(map(len, free)) < count:
            return frozenset()
        fitting = [group for group in free if len(group) >= count]
        if fitting:
            chosen = min(fitting, key=len)[:count]
        else:
            by_room = sorted(free, key=len, reverse=True)
            chosen = [cpu for group in by_room for cpu in group][:count]
        self._taken[owner] = frozenset(chosen)
        return self._taken[owner]

    def release(self, owner: str) -> None:
        """Take the CPUs back; an unknown owner is none."""
        self._taken.pop(owner, None)
