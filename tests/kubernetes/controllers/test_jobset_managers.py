"""Several managers of JobSet: one leads by a Lease, and what one leaves behind another finishes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.jobset import LEASE, Installation, JobSets, replicated
from support.staying import until


@pytest.fixture
def managed(installation: Installation) -> Iterator[Installation]:
    """An installation with one manager of the test's own; the next test gets another."""
    installation.alone()
    yield installation
    for manager in installation.managers:
        manager.stop()


def test_the_lease_moves_on_when_its_holder_stops(managed: Installation, jobsets: JobSets) -> None:
    first = managed.managers[-1]
    holder = managed.holder()
    transitions = managed.server.get(LEASE).ok["spec"]["leaseTransitions"]
    second = managed.start()
    renewed = managed.server.get(LEASE).ok["spec"]["renewTime"]
    until(lambda: managed.server.get(LEASE).ok["spec"]["renewTime"] > renewed, "the first renews")
    assert managed.holder() == holder
    assert "Starting workers" not in second.log()
    first.stop()
    managed.register(second)
    until(lambda: managed.holder() != holder, "another holder")
    assert managed.server.get(LEASE).ok["spec"]["leaseTransitions"] == transitions + 1
    jobsets.create("demo", replicated("a", "true"))
    until(lambda: sorted(jobsets.jobs()) == ["demo-a-0"], "the second manager makes the job")
    assert "Starting workers" in second.log()


def test_without_a_manager_its_webhooks_fail_closed(managed: Installation, jobsets: JobSets) -> None:
    managed.managers[-1].stop()
    answer = jobsets.server.post(
        jobsets.path,
        {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet"}
        | {"metadata": {"name": "demo"}, "spec": {}},
    )
    assert (answer.status, answer.body["reason"]) == (500, "InternalError")
    url = f"{managed.managers[-1].url}/mutate-jobset-x-k8s-io-v1alpha2-jobset?timeout=10s"
    words = f'Internal error occurred: failed calling webhook "mjobset.kb.io": failed to call webhook: Post "{url}": '
    assert answer.body["message"].startswith(words)
    assert answer.body["message"].endswith("connect: connection refused")


@pytest.mark.parametrize("_server_name", ["local"], indirect=True)
def test_what_a_killed_manager_left_another_finishes(
    managed: Installation, jobsets: JobSets, tmp_path: Path
) -> None:
    script = f"until test -e {tmp_path}/go; do sleep 0.05; done"
    then = replicated("then", "true", dependsOn=[{"name": "first", "status": "Complete"}])
    jobsets.create("demo", replicated("first", script, replicas=2), then)
    until(lambda: [pod["status"]["phase"] for pod in jobsets.pods().values()] == ["Running"] * 2, "pods run")
    managed.managers[-1].stop(signal.SIGKILL)
    (tmp_path / "go").touch()
    first = "demo-first-0", "demo-first-1"
    until(lambda: all(jobsets.jobs()[name]["status"].get("succeeded") for name in first), "its jobs complete")
    assert (sorted(jobsets.jobs()), jobsets.conditions("demo")) == (sorted(first), {})
    managed.register(managed.start())
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    assert sorted(jobsets.jobs()) == [*first, "demo-then-0"]
