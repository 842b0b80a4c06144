from __future__ import annotations

import base64
import random
import shlex
from typing import Any

import pytest

from hortator.jobs.compile_local import (
    ANNOTATION_COMMAND,
    ANNOTATION_NOTE,
    ANNOTATION_RANKS,
    ANNOTATION_TAGGED,
    ANNOTATION_WORKERS,
    LABEL_JOB,
    Compiled,
    compile_local,
    owner_patch,
)
from hortator.jobs.context import Context, decode
from hortator.jobs.job import Job
from hortator.jobs.layout import NodeCapacity, plan_layout

CONTEXT = Context(cwd=b"/work", umask=0o22, rlimits={}, environ={b"A": b"$(B)"}, argv=[])
NODES = [NodeCapacity(name="n", milli_cpus=8000, memory=64 << 30, gpus=4)]


def compiled(*command: str, **values: Any) -> Compiled:
    job = Job(**{"name": "pi-1", "command": command or ("./pi",), "context": CONTEXT, **values})
    return compile_local(job, plan_layout(job, NODES), namespace="default", python="/py")


def replica(job: dict[str, Any], role: str) -> dict[str, Any]:
    return job["spec"]["mpiReplicaSpecs"][role]  # type: ignore[no-any-return]


def container(job: dict[str, Any], role: str) -> dict[str, Any]:
    return replica(job, role)["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]


def env(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_ranks_become_an_mpijob_whose_workers_collect() -> None:
    job = compiled("./pi", "10", ranks=4, workers=2, time_limit=90).job
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    assert job["spec"]["slotsPerWorker"] == 2
    assert job["spec"]["runPolicy"] == {
        "cleanPodPolicy": "Running",
        "backoffLimit": 0,
        "activeDeadlineSeconds": 90,
    }
    assert (replica(job, "Worker")["replicas"], replica(job, "Worker")["restartPolicy"]) == (2, "Never")
    assert container(job, "Worker")["command"][-1] == "collector"
    launcher = container(job, "Launcher")
    assert launcher["command"][:3] == ["/py", "-I", "-S"]
    assert (launcher["command"][-1], launcher["args"]) == ("launch", ["--", "./pi", "10"])
    for role in ("Launcher", "Worker"):
        assert replica(job, role)["template"]["spec"]["terminationGracePeriodSeconds"] == 10
        assert replica(job, role)["template"]["metadata"]["labels"] == {LABEL_JOB: "pi-1"}


def test_without_ranks_it_is_a_plain_job() -> None:
    job = compiled("./a", stdin=True, time_limit=5).job
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 5)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["command"][-2:] == ["enter", "--stdin"]
    assert ANNOTATION_TAGGED not in job["metadata"]["annotations"]


def test_what_the_command_line_reads_back_is_annotated() -> None:
    notes = compiled("./pi", "a b", ranks=16).job["metadata"]["annotations"]
    assert notes[ANNOTATION_COMMAND] == "./pi 'a b'"
    assert (notes[ANNOTATION_RANKS], notes[ANNOTATION_WORKERS], notes[ANNOTATION_TAGGED]) == (
        "16",
        "1",
        "true",
    )
    assert "ranks share CPUs" in notes[ANNOTATION_NOTE]


def test_workers_ask_for_what_their_ranks_need_and_the_launcher_for_nothing() -> None:
    job = compiled(ranks=4, cpus_per_rank=2, memory=3 << 30, gpus_per_rank=1).job
    amounts = {"cpu": "8", "memory": str(3 << 30), "nvidia.com/gpu": "4"}
    assert container(job, "Worker")["resources"] == {"requests": amounts, "limits": amounts}
    assert container(job, "Launcher")["resources"] == {"requests": {"cpu": "0"}}


def test_a_worker_that_shares_cpus_asks_for_no_whole_ones() -> None:
    job = Job(name="pi-1", command=("pi",), context=CONTEXT, ranks=3, workers=2)
    nodes = [NodeCapacity(name="n", milli_cpus=1000, memory=1 << 30)]
    made = compile_local(job, plan_layout(job, nodes), namespace="default").job
    assert container(made, "Worker")["resources"] == {"requests": {"cpu": "500m"}}
    assert env(container(made, "Worker"))["HORT_OVERSUBSCRIBED"] == "1"


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        ({"ranks": 4}, "HORT_EXPECT_RANKS", "4"),
        ({"ranks": 4, "cpus_per_rank": 2}, "HORT_CPUS_PER_RANK", "2"),
        ({"ranks": 4, "stdin": True}, "HORT_STDIN", "1"),
        ({"ranks": 4}, "HORT_STDIN", None),
        ({"ranks": 4, "mpi": "/opt/$(X)"}, "HORT_MPI", "/opt/$$(X)"),
        ({"ranks": 2, "gpus_per_rank": 2}, "HORT_GPUS_PER_RANK", "2"),
        ({}, "HORT_EXPECT_RANKS", None),
        ({}, "HORT_ENTER", None),
    ],
)
def test_the_programs_of_the_job_are_told(values: dict[str, Any], name: str, value: str | None) -> None:
    job = compiled(**values).job
    where = (
        container(job, "Worker") if values.get("ranks") else job["spec"]["template"]["spec"]["containers"][0]
    )
    assert env(where).get(name) == value


def test_the_callers_surroundings_go_into_a_secret() -> None:
    made = compiled(ranks=2)
    meta = made.secret["metadata"]
    assert (meta["name"], meta["namespace"]) == ("pi-1-context", "default")
    got = decode(base64.b64decode(made.secret["data"]["context"]))
    assert (got.cwd, got.environ, got.argv) == (b"/work", {b"A": b"$(B)"}, [])
    volume = replica(made.job, "Worker")["template"]["spec"]["volumes"][0]
    assert volume["secret"] == {"secretName": "pi-1-context", "defaultMode": 0o400}


def test_a_command_that_is_not_utf8_travels_with_the_surroundings() -> None:
    made = compiled("./pi", "caf\udce9", ranks=2)
    assert container(made.job, "Launcher")["args"] == ["--"]
    assert decode(base64.b64decode(made.secret["data"]["context"])).argv == [b"./pi", b"caf\xe9"]


def test_the_secret_goes_with_the_job() -> None:
    created = compiled(ranks=2).job
    created["metadata"]["uid"] = "u-1"
    (owner,) = owner_patch(created)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("MPIJob", "pi-1", "u-1")


def expand(text: str) -> str:
    """Kubernetes' expansion with no variable known but A (``third_party/forked/golang/expansion``, v1.36)."""
    out, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out, at = out + text[at], at + 1
        elif text[at + 1] == "(" and ")" in text[at:]:
            end = text.index(")", at)
            name = text[at + 2 : end]
            out, at = out + ("EXPANDED" if name == "A" else f"$({name})"), end + 1
        elif text[at + 1] == "$":
            out, at = out + "$", at + 2
        else:
            out, at = out + text[at : at + 2], at + 2
    return out


def test_arguments_arrive_as_typed() -> None:
    chance = random.Random(7)
    words = ["".join(chance.choice("$$$()A x") for _ in range(chance.randrange(1, 9))) for _ in range(500)]
    words += ["$(A)", "$$(A)", "$$$(A)", "$", "$$", "$HOME", "a$"]
    args = container(compiled("./pi", *words, ranks=2).job, "Launcher")["args"]
    assert [expand(arg) for arg in args] == ["--", "./pi", *words]
    assert shlex.split(
        compiled("./pi", *words[:20], ranks=2).job["metadata"]["annotations"][ANNOTATION_COMMAND]
    )
