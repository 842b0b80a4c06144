"""Jobs that must wait for room, and many at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.hort import Hort
from support.staying import Staying, until


def state(hort: Hort, name: str) -> str:
    return str(hort.json("show", name)["state"])


@pytest.mark.parametrize(
    "flags", [["-n", "4"], ["-n", "2", "-c", "2"], ["-n", "4", "--workers", "2"]], ids=" ".join
)
def test_a_job_waits_while_cpus_are_busy_says_why_and_starts_later(
    hort: Hort, tmp_path: Path, flags: list[str]
) -> None:
    gate = tmp_path / "gate"
    script = f"echo in; while [ ! -e {gate} ]; do sleep 0.05; done"
    with Staying(hort, "run", *flags, "--no-oversubscribe", "--", "sh", "-c", script) as first:
        first.said("in", int(flags[1]))
        with Staying(hort, "run", "-n", "2", "--", "echo", "mine") as second:
            second.told("hort: waiting: WaitingForResources: ")
            assert second.stderr.count(b"Insufficient cpu") == 1
            shown = hort.json("show", second.job)
            assert (shown["state"], shown["reason"]) == ("PD", "WaitingForResources")
            line = hort("jobs").stdout
            assert b"WaitingForResources: 0/1 nodes are available" in line and b"\xe2\x80\xa6" not in line
            assert b"Insufficient cpu" in hort("show", second.job).stdout
            assert b"mine" not in second.stdout
            gate.touch()
            assert first.end() == 0
            assert second.end() == 0
            assert second.stdout == b"mine\nmine\n"


def test_a_plain_job_waits_as_well(hort: Hort) -> None:
    with Staying(hort, "run", "-n", "4", "--", "sh", "-c", "echo in; exec sleep 1000") as first:
        first.said("in", 4)
        with Staying(hort, "run", "--", "echo", "mine") as second:
            second.told("hort: waiting: WaitingForResources: ")
            hort("cancel", "--now", first.job)
            assert first.end() == 130
            assert second.end() == 0
            assert second.stdout == b"mine\n"


def test_a_waiting_job_can_be_cancelled(hort: Hort) -> None:
    with Staying(hort, "run", "-n", "4", "--", "sh", "-c", "echo in; exec sleep 1000") as first:
        first.said("in", 4)
        name = hort("submit", "--parsable", "-n", "4", "--", "true").stdout.decode().strip()
        until(lambda: state(hort, name) == "PD", "that it waits")
        hort("cancel", name)
        hort("wait", name, code=130)
        assert state(hort, name) == "CA"
        hort("cancel", "--now", first.job)
        assert first.end() == 130


def test_twenty_jobs_at_once_on_four_nodes(new_hort: Callable[..., Hort]) -> None:
    hort = new_hort()
    hort("up", "-d", "--nodes", "4", "--cpus", "8")
    script = 'echo "$HORT_RANK of $HORT_RANKS in $HORT_JOB_ID"'
    runs = [
        hort.start("run", "-n", "4", "--workers", "2", "--name", "many", "--", "sh", "-c", script)
        for _ in range(20)
    ]
    outputs = [run.communicate(timeout=110) for run in runs]
    assert [
        (run.returncode, err.decode()) for run, (_, err) in zip(runs, outputs, strict=True) if run.returncode
    ] == []
    said = {line for out, _ in outputs for line in out.decode().splitlines()}
    assert said == {f"{rank} of 4 in many-{number}" for rank in range(4) for number in range(1, 21)}
    jobs = hort.json("jobs")
    assert len(jobs) == 20
    assert {job["state"] for job in jobs} == {"CD"}
    assert {node for job in jobs for node in job["nodes"]} == {f"node-{number}" for number in (1, 2, 3, 4)}
