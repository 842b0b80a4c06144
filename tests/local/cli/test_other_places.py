"""The main job where people have fewer rights: as an ordinary user, and where the kernel forbids user namespaces."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hort import Hort
from support.staying import Staying, processes, until
from support.users import as_user, folder_of, others_python

EXAMPLES = Path(__file__).parents[3] / "examples"
USER = 65533

#: The same user in a user namespace in which no further one can be made, and without any right there.
FORBIDDEN = (
    *("unshare", "--user", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps", "sh", "-c"),
    "echo 0 > /proc/sys/user/max_user_namespaces &&"
    ' exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all "$@"',
    "sh",
)


@pytest.fixture(scope="module")
def python() -> Iterator[str]:
    with others_python() as path:
        yield path


@pytest.fixture(scope="module", params=["ordinary user", "no user namespaces"])
def place(request: pytest.FixtureRequest, python: str) -> Iterator[Hort]:
    """A cluster of an ordinary user; of one to whom the kernel gives no namespaces."""
    prefix = list(as_user(USER))
    if request.param == "no user namespaces":
        prefix += FORBIDDEN
    with folder_of(USER) as home:
        hort = Hort(home, python=python, prefix=prefix, env={"PYTHONPATH": "", "USER": "somebody"})
        (home / "pi.py").write_bytes((EXAMPLES / "pi.py").read_bytes())
        hort("up", "-d", "--cpus", "4")
        hort.sandboxed = request.param == "ordinary user"  # type: ignore[attr-defined]
        yield hort
        hort("down")


def sandboxed(hort: Hort) -> bool:
    return bool(hort.sandboxed)  # type: ignore[attr-defined]


def test_pi_runs_on_four_ranks_over_two_workers(place: Hort) -> None:
    done = place("run", "-n", "4", "--workers", "2", "--name", "pi", "--", place.python, "pi.py")
    lines = done.stdout.decode().splitlines()
    hosts = [f"pi-1-worker-{rank // 2}" if sandboxed(place) else os.uname().nodename for rank in range(4)]
    said = sorted(line for line in lines if line.startswith("rank"))
    assert said == [f"rank {rank} of 4 on {host}" for rank, host in enumerate(hosts)]
    assert [line for line in lines if line.startswith("pi is about 3.14159265")]


def test_workers_are_told_apart_by_name(place: Hort) -> None:
    done = place(
        "run",
        "-n",
        "4",
        "--workers",
        "2",
        "--name",
        "names",
        "--",
        "sh",
        "-c",
        "echo $HORT_RANK $HORT_WORKER",
    )
    workers = [f"names-1-worker-{rank // 2}" for rank in range(4)]
    assert sorted(done.stdout.decode().splitlines()) == [
        f"{rank} {worker}" for rank, worker in enumerate(workers)
    ]
    assert [rank["worker"] for rank in place.json("ranks", "names-1")] == workers


def test_pods_without_a_sandbox_say_so(place: Hort) -> None:
    place("run", "--name", "event", "--", "true")
    until(lambda: b"HostFilesystem" in place("show", "event-1").stdout, "the pod's events")
    assert (b"NoSandbox" in place("show", "event-1").stdout) is not sandboxed(place)


def test_people_stay_who_they_are(place: Hort) -> None:
    who = place("run", "-n", "1", "--", "sh", "-c", "id -u; touch made; stat -c %u made").stdout
    assert who.split() == [b"%d" % USER] * 2
    assert (place.home / "made").stat().st_uid == USER


@pytest.mark.parametrize("flags", [[], ["-n", "2", "--workers", "2"]], ids=["plain", "ranks"])
def test_standard_input_arrives(place: Hort, flags: list[str]) -> None:
    assert place("run", *flags, "--", "cat", stdin=b"hello\n" * 100_000).stdout == b"hello\n" * 100_000


def test_a_failing_rank_is_named(place: Hort) -> None:
    script = '[ "$HORT_RANK" = 1 ] && exit 3; exec sleep 1000'
    done = place("run", "-n", "2", "--workers", "2", "--name", "bad", "--", "sh", "-c", script, code=3)
    assert b"rank 1 on bad-1-worker-1 exited with code 3" in done.stderr or not sandboxed(place)
    assert b"rank 1" in done.stderr


@pytest.mark.parametrize("flags", [[], ["-n", "2", "--workers", "2"]], ids=["plain", "ranks"])
def test_cancel_leaves_no_process(place: Hort, flags: list[str]) -> None:
    mark = uuid.uuid4().hex
    script = (
        f"setsid sh -c 'trap \"\" TERM HUP; sleep 1000; : {mark}' & sleep 0.2; echo ready; exec sleep 1001"
    )
    with Staying(place, "run", *flags, "--", "sh", "-c", script) as job:
        job.said("ready", 2 if flags else 1)
        assert processes(mark)
        place("cancel", job.job)
        assert job.end() == 130
    until(lambda: not processes(mark), "the end of all processes", seconds=15)
