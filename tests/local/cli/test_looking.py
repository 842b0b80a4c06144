"""Looking at jobs: jobs, show, ranks, logs, wait, submit; for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import yaml

from support.hort import Hort
from support.staying import Staying, until

MANIFEST = """
apiVersion: batch/v1
kind: Job
metadata:
  name: from-file
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: none
          command: [sh, -c, "echo hello from a file; exit 4"]
"""


@pytest.fixture(scope="module")
def ended(hort: Hort) -> Iterator[Hort]:
    """A cluster with one job of each kind of end."""
    hort("run", "-n", "4", "--workers", "2", "--name", "good", "--", "sh", "-c", "echo $HORT_RANK")
    hort("run", "--name", "bad", "--", "sh", "-c", "exit 3", code=3)
    hort("run", "-n", "1", "-t", "2s", "--name", "late", "--", "sleep", "1000", code=124)
    yield hort


def test_jobs_lists_all_with_state_and_code(ended: Hort) -> None:
    found = {
        job["name"]: (job["kind"], job["state"], job["exitCode"], job["ranks"]) for job in ended.json("jobs")
    }
    assert found["good-1"] == ("MPIJob", "CD", 0, 4)
    assert found["bad-1"] == ("Job", "F", 3, None)
    assert found["late-1"] == ("MPIJob", "TO", 124, 1)


def test_jobs_prints_a_table_for_people(ended: Hort) -> None:
    head, *rows = ended("jobs").stdout.decode().splitlines()
    assert head.split() == ["NAME", "STATE", "RANKS", "WORKERS", "AGE", "EXIT", "WHY"]
    cells = {row.split()[0]: row.split() for row in rows}
    assert cells["good-1"][1:4] == ["CD", "4", "2/2"]
    assert (cells["bad-1"][1], cells["bad-1"][5]) == ("F", "3")


def test_jobs_in_yaml_and_as_names_say_the_same(ended: Hort) -> None:
    assert yaml.safe_load(ended("jobs", "-o", "yaml").stdout) == ended.json("jobs")
    names = ended("jobs", "-o", "name").stdout.decode().split()
    assert [name.rpartition("/")[2] for name in names] == [job["name"] for job in ended.json("jobs")]


def test_show_tells_what_happened(ended: Hort) -> None:
    text = ended("show", "bad-1").stdout.decode()
    assert "F (failed)" in text
    assert "Exit code:" in text
    assert "sh -c 'exit 3'" in text
    shown = ended.json("show", "late-1")
    assert (shown["state"], shown["exitCode"], shown["command"]) == ("TO", 124, "sleep 1000")


def test_ranks_tells_where_each_ran(ended: Hort) -> None:
    ranks = ended.json("ranks", "good-1")
    assert [rank["rank"] for rank in ranks] == [0, 1, 2, 3]
    assert [rank["worker"] for rank in ranks] == [f"good-1-worker-{rank // 2}" for rank in range(4)]
    assert {rank["node"] for rank in ranks} == {"local"}
    assert all(rank["pid"] > 0 for rank in ranks)
    table = ended("ranks", "good-1").stdout.decode().splitlines()
    assert len(table) == 5


def test_ranks_of_a_running_job_are_known(hort: Hort) -> None:
    with Staying(
        hort, "run", "-n", "2", "--workers", "2", "--", "sh", "-c", "echo in; exec sleep 1000"
    ) as job:
        job.said("in", 2)
        assert [rank["worker"] for rank in hort.json("ranks", job.job)] == [
            f"{job.job}-worker-{n}" for n in (0, 1)
        ]
        hort("cancel", "--now", job.job)
        job.end()


def test_logs_of_some_ranks_and_of_one_worker(ended: Hort) -> None:
    assert sorted(ended("logs", "good-1", "--rank", "1,3").stdout.split()) == [b"1", b"3"]
    assert sorted(ended("logs", "good-1", "--rank", "1-2").stdout.split()) == [b"1", b"2"]
    assert sorted(ended("logs", "good-1", "--worker", "1").stdout.split()) == [b"2", b"3"]


def test_wait_exits_with_the_largest_code(ended: Hort) -> None:
    ended("wait", "good-1")
    ended("wait", "good-1", "bad-1", code=3)
    ended("wait", "late-1", code=124)


def test_wait_for_a_state_and_its_time_limit(hort: Hort) -> None:
    name = hort("submit", "--parsable", "-n", "2", "--", "sleep", "1000").stdout.decode().strip()
    hort("wait", "--for", "state=R", name)
    hort("wait", "--timeout", "1s", name, code=124)
    hort("cancel", "--now", name)
    hort("wait", name, code=130)
    hort("wait", "--for", "state=R", name, code=1)


def test_cancelling_what_has_ended_says_so(ended: Hort) -> None:
    assert b"has already ended" in ended("cancel", "good-1").stdout
    assert ended.json("show", "good-1")["state"] == "CD"


def test_a_command_can_be_submitted_and_waited_for(hort: Hort) -> None:
    done = hort("submit", "--wait", "-n", "2", "--name", "sub", "--", "sh", "-c", "exit 6", code=6)
    assert done.stdout.decode() == "job sub-1: 2 ranks on 1 worker, on the local cluster\n"


def test_a_manifest_can_be_submitted_from_stdin(hort: Hort) -> None:
    assert hort("submit", "--parsable", "-", stdin=MANIFEST.encode()).stdout == b"from-file\n"
    hort("wait", "from-file", code=4)
    assert hort("logs", "from-file").stdout == b"hello from a file\n"
    done = hort("submit", "-", stdin=MANIFEST.encode(), code=6)
    assert b"already exists" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MANIFEST.replace("backoffLimit", "backOffLimit"), "backOffLimit"),
        (MANIFEST.replace("name: from-file", "name: From_File"), "metadata.name"),
        (MANIFEST.replace("backoffLimit: 0", "backoffLimit: none"), "backoffLimit"),
        (MANIFEST.replace("  backoffLimit: 0", "  backoffLimit: 0\n  backoffLimit: 1"), "backoffLimit"),
        (MANIFEST.replace("kind: Job", "kind: Pod"), "cannot be submitted"),
        ("just words", "is not a Kubernetes object"),
        ("a: [", "not valid YAML"),
        ("", "holds no objects"),
    ],
    ids=[
        "unknown field",
        "bad name",
        "wrong type",
        "duplicate key",
        "other kind",
        "no object",
        "no YAML",
        "empty",
    ],
)
def test_a_bad_manifest_is_refused_with_field_and_reason(hort: Hort, text: str, reason: str) -> None:
    done = hort("submit", "-", stdin=text.encode(), code=2)
    assert reason in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["show"], ["logs"], ["ranks"], ["wait"], ["cancel"]], ids=" ".join)
def test_a_job_that_does_not_exist_is_not_found(hort: Hort, words: list[str]) -> None:
    assert b"there is no job nothing-1" in hort(*words, "nothing-1", code=3).stderr


def test_errors_are_objects_where_json_is_asked_for(hort: Hort) -> None:
    done = hort("show", "nothing-1", "-o", "json", code=3)
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["reason"]) == (3, "NotFound")


def test_without_a_cluster_looking_says_how_to_get_one(new_hort: Callable[..., Hort]) -> None:
    hort = new_hort()
    for words in (["jobs"], ["show", "x"], ["wait", "x"], ["cancel", "x"], ["kubeconfig"]):
        done = hort(*words, code=5)
        assert b"hort up -d" in done.stderr
    hort("status", code=3)
    assert hort.log() == ""


def test_a_job_whose_volume_is_not_there_says_so(hort: Hort) -> None:
    job = yaml.safe_load(MANIFEST)
    job["metadata"]["name"] = "mounts"
    job["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "secret": {"secretName": "late"}}]
    hort("submit", "-", stdin=json.dumps(job).encode())

    def found() -> dict[str, str]:
        return next(job for job in hort.json("jobs") if job["name"] == "mounts")

    until(lambda: found()["reason"] == "Mounting", "a job that mounts")
    assert found()["state"] == "CF"
    assert found()["message"].startswith("data of mounts-")
    until(lambda: b'secret "late" not found' in hort("show", "mounts").stdout, "the event that says why")
    hort("cancel", "mounts")
