from __future__ import annotations

from typing import Any

import pytest

from hortator.jobs.context import Context
from hortator.jobs.job import Job
from hortator.jobs.layout import Layout, NeverFits, NodeCapacity, plan_layout

CONTEXT = Context(cwd=b"/", umask=0o22, rlimits={}, environ={}, argv=[])
GI = 1 << 30


def nodes(*cpus: float, memory: int = 64 * GI, gpus: int = 0) -> list[NodeCapacity]:
    return [
        NodeCapacity(name=f"n{index}", milli_cpus=int(count * 1000), memory=memory, gpus=gpus)
        for index, count in enumerate(cpus)
    ]


def plan(where: list[NodeCapacity], **values: Any) -> Layout:
    return plan_layout(Job(name="pi-1", command=("pi",), context=CONTEXT, **values), where)


@pytest.mark.parametrize(
    ("cpus", "values", "workers", "slots", "milli"),
    [
        ([8], {"ranks": 4}, 1, 4, 4000),
        ([8], {"ranks": 8}, 1, 8, 8000),
        ([8, 8], {"ranks": 8}, 1, 8, 8000),
        ([8, 8], {"ranks": 9}, 2, 5, 5000),
        ([4, 4, 4], {"ranks": 12}, 3, 4, 4000),
        ([4, 4, 4], {"ranks": 4, "cpus_per_rank": 2}, 2, 2, 4000),
        ([8], {"ranks": 4, "workers": 2}, 2, 2, 2000),
        ([8], {"ranks": 5, "workers": 4}, 4, 2, 2000),
        ([4, 2], {"ranks": 5, "workers": 1}, 1, 5, 4000),
        ([4, 2], {"ranks": 6}, 3, 2, 2000),
        ([8], {}, 1, 1, 1000),
        ([8], {"cpus_per_rank": 3}, 1, 1, 3000),
    ],
)
def test_ranks_lie_on_as_few_workers_as_the_nodes_allow(
    cpus: list[float], values: dict[str, Any], workers: int, slots: int, milli: int
) -> None:
    layout = plan(nodes(*cpus), **values)
    assert (layout.workers, layout.slots, layout.milli_cpus) == (workers, slots, milli)


def test_memory_and_gpus_spread_a_job_too() -> None:
    layout = plan(nodes(64, 64, gpus=4), ranks=8, gpus_per_rank=1)
    assert (layout.workers, layout.slots, layout.gpus, layout.oversubscribed) == (2, 4, 4, False)
    layout = plan(nodes(8, 8, memory=10 * GI), ranks=4, workers=2, memory=9 * GI)
    assert (layout.workers, layout.memory) == (2, 9 * GI)


@pytest.mark.parametrize(
    ("cpus", "values", "workers", "slots", "milli"),
    [
        ([2], {"ranks": 4}, 1, 4, 2000),
        ([2], {"ranks": 4, "workers": 2}, 2, 2, 1000),
        ([2], {"ranks": 4, "workers": 4}, 4, 1, 500),
        ([2, 2], {"ranks": 8}, 2, 4, 2000),
        ([2], {"cpus_per_rank": 3}, 1, 1, 2000),
        ([1.5], {"ranks": 3}, 1, 3, 1500),
    ],
)
def test_too_many_ranks_share_what_there_is(
    cpus: list[float], values: dict[str, Any], workers: int, slots: int, milli: int
) -> None:
    layout = plan(nodes(*cpus), **values)
    assert (layout.workers, layout.slots, layout.milli_cpus, layout.oversubscribed) == (
        workers,
        slots,
        milli,
        True,
    )


def test_sharing_is_said_in_one_line() -> None:
    layout = plan(nodes(2), ranks=4)
    assert layout.note == "4 ranks want 4 CPUs, the node has 2 CPUs: ranks share CPUs, 2.0 to one"


@pytest.mark.parametrize(
    ("where", "values", "words"),
    [
        (nodes(2), {"ranks": 4, "oversubscribe": False}, "--no-oversubscribe"),
        (nodes(8, 8), {"ranks": 8, "memory": 65 * GI}, "largest node has 64 Gi"),
        (nodes(8), {"ranks": 2, "gpus_per_rank": 1}, "the nodes have 0"),
        (nodes(8, gpus=2), {"ranks": 1, "gpus_per_rank": 3}, "at most 2 on one"),
        (nodes(8, gpus=2), {"ranks": 4, "workers": 1, "gpus_per_rank": 1}, "need 4, the nodes have 2"),
        ([], {"ranks": 1}, "no nodes"),
        (nodes(8), {"ranks": 2, "workers": 2, "memory": 40 * GI}, "2 workers of 2 ranks fit on no set"),
    ],
)
def test_what_never_fits_is_refused_with_the_reason(
    where: list[NodeCapacity], values: dict[str, Any], words: str
) -> None:
    with pytest.raises(NeverFits, match=words):
        plan(where, **values)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 7, 8, 12, 31, 64, 100])
@pytest.mark.parametrize("cpus", [[1], [2, 2], [3, 5, 8], [16] * 4])
def test_every_rank_has_a_slot_and_every_worker_fits(ranks: int, cpus: list[float]) -> None:
    layout = plan(nodes(*cpus), ranks=ranks)
    assert layout.workers * layout.slots >= ranks > (layout.workers - 1) * layout.slots
    rooms = sum(int(count * 1000) // layout.milli_cpus for count in cpus)
    assert rooms >= layout.workers
