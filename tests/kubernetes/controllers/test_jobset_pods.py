"""JobSets that run: replicated jobs with real pods, restarts, suspension, order of start, time to live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from support.jobset import JobSets, replicated
from support.staying import until

Object = dict[str, Any]

# Kubernetes' own control plane has no nodes here.
pytestmark = pytest.mark.parametrize("_server_name", ["local"], indirect=True)

_ATTEMPT = "metadata.labels['jobset.sigs.k8s.io/restart-attempt']"


def _waits_for(file: Path) -> str:
    """Return a script that runs until the file exists."""
    return f"until test -e {file}; do sleep 0.05; done"


def _phases(jobsets: JobSets) -> dict[str, str]:
    return {name: pod["status"]["phase"] for name, pod in jobsets.pods().items()}


def _status_of_jobs(jobsets: JobSets, name: str) -> dict[str, Object]:
    found = jobsets.get(name).get("status", {}).get("replicatedJobsStatus", [])
    return {item["name"]: item for item in found}


def _python(script: str) -> Object:
    return {"command": [sys.executable, "-c", script]}


DRIVER = """
import socket
server = socket.create_server(("demo-driver-0-0.demo", 7777))
heard = set()
while len(heard) < 4:
    peer, _ = server.accept()
    heard.add(peer.makefile().readline().strip())
print(*sorted(heard))
"""
WORKER = """
import os, socket, time
while True:
    try:
        peer = socket.create_connection(("demo-driver-0-0.demo", 7777), 5)
        break
    except OSError:
        time.sleep(0.05)
peer.sendall((socket.gethostname() + "/" + os.environ["JOB_COMPLETION_INDEX"] + "\\n").encode())
peer.close()
"""


def test_two_replicated_jobs_find_each_other_and_complete(jobsets: JobSets) -> None:
    jobsets.create(
        "demo",
        replicated("driver", "", container=_python(DRIVER)),
        replicated("worker", "", replicas=2, pods=2, container=_python(WORKER)),
    )
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    assert jobsets.get("demo")["status"]["terminalState"] == "Completed"
    workers = [f"demo-worker-{job}-{index}" for job in (0, 1) for index in (0, 1)]
    said = " ".join(f"{name}/{name[-1]}" for name in workers)
    assert jobsets.log("demo-driver-0-0") == f"{said}\n"
    assert _phases(jobsets) == dict.fromkeys(["demo-driver-0-0", *workers], "Succeeded")
    status = _status_of_jobs(jobsets, "demo")
    assert {name: item["succeeded"] for name, item in status.items()} == {"driver": 1, "worker": 2}
    pod = jobsets.pods()["demo-worker-1-0"]
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("demo-worker-1-0", "demo")
    assert pod["metadata"]["ownerReferences"][0]["uid"] == jobsets.jobs()["demo-worker-1"]["metadata"]["uid"]


def test_a_success_policy_ends_what_still_runs(jobsets: JobSets) -> None:
    policy = {"operator": "Any", "targetReplicatedJobs": ["driver"]}
    jobsets.create(
        "demo", replicated("driver", "true"), replicated("worker", "sleep 600"), successPolicy=policy
    )
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    until(lambda: sorted(jobsets.jobs()) == ["demo-driver-0"], "the other job is deleted")
    until(lambda: "demo-worker-0-0" not in jobsets.pods(), "its pod is gone")


def test_a_failure_restarts_all_jobs(jobsets: JobSets) -> None:
    env = [{"name": "ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": _ATTEMPT}}}]
    job = replicated("a", 'echo "attempt $ATTEMPT"; test "$ATTEMPT" = 1', container={"env": env})
    jobsets.create("demo", job, replicated("b", "true"), failurePolicy={"maxRestarts": 3})
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    status = jobsets.get("demo")["status"]
    assert (status["restarts"], status["restartsCountTowardsMax"]) == (1, 1)
    attempts = [
        job["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"] for job in jobsets.jobs().values()
    ]
    assert attempts == ["1", "1"]
    assert jobsets.log("demo-a-0-0") == "attempt 1\n"


def test_too_many_restarts_fail_the_jobset(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "exit 3"), failurePolicy={"maxRestarts": 1})
    jobsets.becomes("demo", "Failed", "ReachedMaxRestarts")
    status = jobsets.get("demo")["status"]
    assert (status["restarts"], status["terminalState"]) == (1, "Failed")


def test_a_rule_fails_the_jobset_by_the_jobs_reason(jobsets: JobSets) -> None:
    rules = [{"name": "poison", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}]
    job = replicated("a", "exit 42")
    job["template"]["spec"]["podFailurePolicy"] = {
        "rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}}
        ]
    }
    jobsets.create("demo", job, failurePolicy={"maxRestarts": 5, "rules": rules})
    jobsets.becomes("demo", "Failed", "FailJobSetFailurePolicyAction")
    assert jobsets.get("demo")["status"].get("restarts", 0) == 0


def test_suspension_takes_the_pods_and_resumption_runs_them(jobsets: JobSets, tmp_path: Path) -> None:
    script = _waits_for(tmp_path / "go")
    jobsets.create("demo", replicated("a", script), replicated("b", script))
    running = {"demo-a-0-0": "Running", "demo-b-0-0": "Running"}
    until(lambda: _phases(jobsets) == running, "both pods run")
    jobsets.server.patch(f"{jobsets.path}/demo", {"spec": {"suspend": True}}).ok  # noqa: B018
    jobsets.becomes("demo", "Suspended", "SuspendedJobs")
    until(lambda: jobsets.pods() == {}, "no pods")
    assert [job["spec"]["suspend"] for job in jobsets.jobs().values()] == [True, True]
    until(lambda: _status_of_jobs(jobsets, "demo")["a"]["suspended"] == 1, "the status of its jobs")
    jobsets.server.patch(f"{jobsets.path}/demo", {"spec": {"suspend": False}}).ok  # noqa: B018
    until(lambda: _phases(jobsets) == running, "both pods run again")
    (tmp_path / "go").touch()
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    assert "Suspended" not in jobsets.conditions("demo")


def test_a_suspended_jobset_takes_a_new_place_for_its_pods(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"), suspend=True)
    jobsets.becomes("demo", "Suspended", "SuspendedJobs")
    jobs = jobsets.get("demo")["spec"]["replicatedJobs"]
    jobs[0]["template"]["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/os": "linux"}
    jobsets.server.patch(  # noqa: B018
        f"{jobsets.path}/demo", {"spec": {"suspend": False, "replicatedJobs": jobs}}
    ).ok
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    assert jobsets.pods()["demo-a-0-0"]["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_in_order_the_next_waits_until_the_first_is_ready(jobsets: JobSets, tmp_path: Path) -> None:
    probe = {"exec": {"command": ["test", "-e", str(tmp_path / "ready")]}, "periodSeconds": 1}
    first = replicated("first", _waits_for(tmp_path / "end"), container={"readinessProbe": probe})
    then = replicated("then", _waits_for(tmp_path / "end"))
    jobsets.create("demo", first, then, startupPolicy={"startupPolicyOrder": "InOrder"})
    until(lambda: _phases(jobsets) == {"demo-first-0-0": "Running"}, "the first pod runs")
    jobsets.becomes("demo", "StartupPolicyInProgress", "InOrderStartupPolicyInProgress")
    assert sorted(jobsets.jobs()) == ["demo-first-0"]
    (tmp_path / "ready").touch()
    jobsets.becomes("demo", "StartupPolicyCompleted", "InOrderStartupPolicyCompleted")
    until(lambda: _phases(jobsets).get("demo-then-0-0") == "Running", "the second pod runs")
    (tmp_path / "end").touch()
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")


def test_a_job_starts_when_what_it_depends_on_is_complete(jobsets: JobSets, tmp_path: Path) -> None:
    first = replicated("first", _waits_for(tmp_path / "end"))
    then = replicated("then", "true", dependsOn=[{"name": "first", "status": "Complete"}])
    jobsets.create("demo", first, then)
    until(lambda: _phases(jobsets) == {"demo-first-0-0": "Running"}, "the first pod runs")
    assert sorted(jobsets.jobs()) == ["demo-first-0"]
    (tmp_path / "end").touch()
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    assert sorted(jobsets.jobs()) == ["demo-first-0", "demo-then-0"]


def test_a_finished_jobset_goes_after_its_time(jobsets: JobSets) -> None:
    jobsets.create("demo", replicated("a", "true"), ttlSecondsAfterFinished=1)
    until(lambda: jobsets.server.get(f"{jobsets.path}/demo").status == 404, "the JobSet is gone")
    until(lambda: (jobsets.jobs(), jobsets.pods()) == ({}, {}), "jobs and pods are gone")


def test_exclusive_jobs_follow_their_leaders_node(jobsets: JobSets) -> None:
    annotations = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "kubernetes.io/hostname"}
    job = replicated("a", "true", pods=3)
    job["template"]["metadata"] = {"annotations": annotations}
    jobsets.create("demo", job)
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    specs = {name: pod["spec"] for name, pod in jobsets.pods().items()}
    assert sorted(specs) == ["demo-a-0-0", "demo-a-0-1", "demo-a-0-2"]
    leader = specs.pop("demo-a-0-0")
    terms = leader["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [term["topologyKey"] for term in terms] == ["kubernetes.io/hostname"]
    assert [spec["nodeSelector"] for spec in specs.values()] == [
        {"kubernetes.io/hostname": leader["nodeName"]}
    ] * 2


def test_claims_are_made_for_the_jobset_and_shared(jobsets: JobSets) -> None:
    claim = {
        "metadata": {"name": "scratch"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    mount = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    first = replicated("first", "echo passed on > /scratch/note", container=mount)
    then = replicated("then", "cat /scratch/note", container=mount)
    then["dependsOn"] = [{"name": "first", "status": "Complete"}]
    jobsets.create("demo", first, then, volumeClaimPolicies=[{"templates": [claim]}])
    jobsets.becomes("demo", "Completed", "AllJobsCompleted")
    assert jobsets.log("demo-then-0-0") == "passed on\n"
    claims = f"/api/v1/namespaces/{jobsets.namespace}/persistentvolumeclaims"
    assert [item["status"]["phase"] for item in jobsets.server.get(claims).ok["items"]] == ["Bound"]
    jobsets.server.delete(f"{jobsets.path}/demo").ok  # noqa: B018
    until(lambda: jobsets.server.get(claims).ok["items"] == [], "the claim goes with the JobSet")
