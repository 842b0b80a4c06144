from __future__ import annotations

from typing import Any

import pytest

from hortator.jobs.context import Context
from hortator.jobs.job import InvalidJob, Job

CONTEXT = Context(cwd=b"/", umask=0o22, rlimits={}, environ={}, argv=[])


def job(**values: Any) -> Job:
    return Job(**{"name": "pi-1", "command": ("./pi",), "context": CONTEXT, **values})


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"name": "Pi"}, "--name"),
        ({"command": ()}, "COMMAND"),
        ({"command": ("",)}, "COMMAND"),
        ({"command": ("a", "b\0c")}, "COMMAND"),
        ({"ranks": 0}, "-n"),
        ({"ranks": -4}, "-n"),
        ({"ranks": 100_001}, "-n"),
        ({"cpus_per_rank": 0}, "-c"),
        ({"gpus_per_rank": -1}, "--gpus-per-rank"),
        ({"workers": 2}, "--workers"),
        ({"ranks": 4, "workers": 0}, "--workers"),
        ({"ranks": 4, "workers": 5}, "--workers"),
        ({"memory": 0}, "--mem"),
        ({"time_limit": 0}, "-t"),
        ({"mpi": "/opt/mpi"}, "--mpi"),
    ],
)
def test_what_cannot_be_is_refused_by_flag(values: dict[str, Any], flag: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        job(**values)
    assert caught.value.flag == flag
    assert str(caught.value).startswith(f"{flag}: ")


def test_what_can_be_is_taken() -> None:
    assert (
        job(ranks=4, workers=4, cpus_per_rank=2, gpus_per_rank=1, memory=1, time_limit=1, mpi="x").ranks == 4
    )
