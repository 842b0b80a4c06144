"""How a job's ranks lie on the nodes: how many workers, how many slots each, what each worker asks for.

Pure. Looks at what nodes have, never at what is free now: a job that fits some day waits its turn, and only one that
never fits is refused or made to share CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hortator.jobs.job import Job

__all__ = ["Layout", "NeverFits", "NodeCapacity", "plan_layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCapacity:
    """What a node can give to pods in all: CPUs in thousandths, memory in bytes, GPUs."""

    name: str
    milli_cpus: int
    memory: int
    gpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The plan. All workers are alike, as an MPIJob's are; with uneven numbers the first ones hold one rank less."""

    workers: int
    slots: int
    #: CPUs that each worker asks for, in thousandths.
    milli_cpus: int
    memory: int | None
    gpus: int
    #: CPUs that the ranks would like, in thousandths, when the nodes have fewer; 0 otherwise.
    wanted_milli_cpus: int = 0
    #: One line for the user when something is not as he might expect; empty otherwise.
    note: str = ""

    @property
    def oversubscribed(self) -> bool:
        """Whether ranks share CPUs."""
        return self.wanted_milli_cpus > 0


class NeverFits(Exception):
    """Raised when no state of these nodes could run the job; exit code 7. ``str`` says what is too much."""


def plan_layout(job: Job, nodes: Sequence[NodeCapacity]) -> Layout:
    """Spread ``job`` over ``nodes``: as few workers as the nodes allow, one per node where that is possible.

    When CPUs alone are too few, the workers ask for what there is and share it, unless the job forbids that. Raises
    :class:`NeverFits`.
    """
    if not nodes:
        raise NeverFits("the cluster has no nodes")
    ranks = job.ranks or 1
    counts = [job.workers] if job.workers is not None else range(1, ranks + 1)
    for one_per_node in (True, False):
        for workers in counts:
            slots = -(-ranks // workers)
            if job.workers is None and (one_per_node and workers > len(nodes)):
                break
            if job.workers is None and -(-ranks // slots) < workers:
                continue  # the same slots with fewer workers were tried
            layout = _layout(job, workers, slots, slots * job.cpus_per_rank * 1000)
            if _fits(layout, nodes, one_per_node=one_per_node):
                return layout
    return _shared(job, nodes, ranks)


def _layout(job: Job, workers: int, slots: int, milli_cpus: int) -> Layout:
    return Layout(
        workers=workers,
        slots=slots,
        milli_cpus=milli_cpus,
        memory=job.memory,
        gpus=slots * job.gpus_per_rank,
    )


def _rooms(layout: Layout, node: NodeCapacity) -> int:
    """Return how many of the workers fit on ``node`` when it is empty."""
    rooms = layout.workers
    if layout.milli_cpus:
        rooms = min(rooms, node.milli_cpus // layout.milli_cpus)
    if layout.memory:
        rooms = min(rooms, node.memory // layout.memory)
    if layout.gpus:
        rooms = min(rooms, node.gpus // layout.gpus)
    return rooms


def _fits(layout: Layout, nodes: Sequence[NodeCapacity], *, one_per_node: bool) -> bool:
    rooms = [_rooms(layout, node) for node in nodes]
    return sum(min(room, 1) if one_per_node else room for room in rooms) >= layout.workers


def _shared(job: Job, nodes: Sequence[NodeCapacity], ranks: int) -> Layout:
    """Lay the job out where only CPUs are too few."""
    total = sum(node.milli_cpus for node in nodes)
    wanted = ranks * job.cpus_per_rank * 1000
    for one_per_node in (True, False):
        limit = min(ranks, len(nodes)) if one_per_node else ranks
        for workers in [job.workers] if job.workers is not None else range(1, limit + 1):
            slots = -(-ranks // workers)
            bare = _layout(job, workers, slots, 0)
            if not _fits(bare, nodes, one_per_node=one_per_node):
                continue
            if job.workers is None and one_per_node and workers < min(limit, len(nodes)):
                continue  # too few CPUs everywhere: take every node before sharing
            if not job.oversubscribe:
                raise NeverFits(
                    f"{_ranks(ranks)} of {_cpus(job.cpus_per_rank * 1000)} need {_cpus(wanted)}"
                    f"{f' in {workers} equal workers' if job.workers else ''}; {_has(nodes, total)}, "
                    "and --no-oversubscribe forbids sharing"
                )
            return _squeezed(job, bare, nodes, wanted=wanted, total=total)
    raise NeverFits(_too_much(job, nodes, ranks))


def _squeezed(job: Job, bare: Layout, nodes: Sequence[NodeCapacity], *, wanted: int, total: int) -> Layout:
    """Give every worker the largest equal request with which all of them fit."""
    candidates = {0}
    for node in nodes:
        for share in range(1, bare.workers + 1):
            candidates.add(min(node.milli_cpus // share, bare.slots * job.cpus_per_rank * 1000))
    for milli in sorted(candidates, reverse=True):
        layout = _layout(job, bare.workers, bare.slots, milli)
        if _fits(layout, nodes, one_per_node=False):
            apart = (
                f" in {bare.workers} workers of {bare.slots}" if bare.workers > 1 and total >= wanted else ""
            )
            ratio = f", {bare.slots * job.cpus_per_rank * 1000 / milli:.1f} to one" if milli else ""
            note = f"{_ranks(job.ranks or 1)}{apart} want {_cpus(wanted)}, {_has(nodes, total)}: ranks share CPUs{ratio}"
            return Layout(
                workers=layout.workers,
                slots=layout.slots,
                milli_cpus=milli,
                memory=layout.memory,
                gpus=layout.gpus,
                wanted_milli_cpus=wanted,
                note=note,
            )
    raise AssertionError("a request of nothing always fits")


def _too_much(job: Job, nodes: Sequence[NodeCapacity], ranks: int) -> str:
    if job.gpus_per_rank:
        most = sum(node.gpus for node in nodes)
        if ranks * job.gpus_per_rank > most or job.gpus_per_rank > max(node.gpus for node in nodes):
            return (
                f"{_ranks(ranks)} with {job.gpus_per_rank} GPU each need {ranks * job.gpus_per_rank}, "
                f"the nodes have {most} (at most {max(node.gpus for node in nodes)} on one)"
            )
    if job.memory and job.memory > max(node.memory for node in nodes):
        largest = max(node.memory for node in nodes)
        return f"--mem asks for {_size(job.memory)} per worker, the largest node has {_size(largest)}"
    workers = f"{job.workers} workers" if job.workers else "its workers"
    return f"{workers} of {_ranks(ranks)} fit on no set of the nodes with the memory and GPUs asked for"


def _ranks(count: int) -> str:
    return f"{count} rank{'' if count == 1 else 's'}"


def _cpus(milli: int) -> str:
    return f"{milli / 1000:g} CPU{'' if milli == 1000 else 's'}"


def _has(nodes: Sequence[NodeCapacity], total: int) -> str:
    return (
        f"the node has {_cpus(total)}" if len(nodes) == 1 else f"the {len(nodes)} nodes have {_cpus(total)}"
    )


def _size(size: int) -> str:
    for unit in ("B", "Ki", "Mi", "Gi"):
        if size < 10240:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} Ti"
