"""An ordinary MPIJob from a manifest: real ranks on both workers, and nothing left when it is deleted."""

from __future__ import annotations

import re
from typing import Any

from support.hort import Hort
from support.kubectl import Kubectl, lines
from support.staying import processes, until

KINDS = "pods,jobs,configmaps,secrets,services,serviceaccounts,roles,rolebindings"

Object = dict[str, Any]


def mpijob(name: str, *command: str, **spec: Any) -> Object:
    def replica(container: Object, **fields: Any) -> Object:
        return {
            **fields,
            "template": {"spec": {"containers": [{"name": "main", "image": "none", **container}]}},
        }

    replicas = {"Launcher": replica({"command": list(command)}), "Worker": replica({}, replicas=2)}
    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": name},
        "spec": {"slotsPerWorker": 2, "mpiReplicaSpecs": replicas, **spec},
    }


def test_ranks_run_on_both_workers_and_deleting_leaves_nothing(kubectl: Kubectl, hort: Hort) -> None:
    before = kubectl("get", KINDS, "-o", "name").split()
    mark = f"mark-of-{kubectl.namespace}"
    script = f"hostname; : {mark}"
    assert kubectl("apply", "-f", "-", stdin=mpijob("pi", "mpirun", "-n", "4", "/bin/sh", "-c", script)) == (
        "mpijob.kubeflow.org/pi created\n"
    )
    kubectl("wait", "--for=condition=Succeeded", "mpijob/pi", "--timeout=90s")
    hosts = [
        line for line in kubectl("logs", "job/pi-launcher").split() if re.fullmatch(r"pi-worker-\d", line)
    ]
    assert sorted(hosts) == ["pi-worker-0"] * 2 + ["pi-worker-1"] * 2
    assert "MPIJobSucceeded" in kubectl("describe", "mpijob", "pi")
    assert lines(kubectl("get", "mpijobs"))[0][0] == "pi"
    jobs = hort.json("jobs", "--namespace", kubectl.namespace)
    assert [(job["name"], job["kind"]) for job in jobs] == [("pi", "MPIJob")]
    kubectl("delete", "mpijob", "pi")
    until(lambda: kubectl("get", KINDS, "-o", "name").split() == before, "the end of all objects of the job")
    until(lambda: not processes(mark), "the end of all processes of the job")


def test_deleting_a_running_job_ends_its_ranks(kubectl: Kubectl) -> None:
    before = kubectl("get", KINDS, "-o", "name").split()
    mark = f"mark-of-{kubectl.namespace}"
    made = mpijob("long", "mpirun", "-n", "4", "/bin/sh", "-c", f"sleep 600; : {mark}")
    kubectl("apply", "-f", "-", stdin=made)
    # Launcher, workers' daemons and their ranks carry the mark; the ranks are shells.
    until(
        lambda: sum(line.startswith("/bin/sh -c sleep") for line in processes(mark).values()) == 4,
        "four ranks",
    )
    assert "Running" in kubectl("get", "mpijob", "long", "-o", "jsonpath={.status.conditions[*].type}")
    kubectl("delete", "mpijob", "long")
    until(lambda: not processes(mark), "the end of all processes of the job")
    until(lambda: kubectl("get", KINDS, "-o", "name").split() == before, "the end of all objects of the job")


def test_a_failing_rank_fails_the_job_with_its_code(kubectl: Kubectl) -> None:
    script = 'test "$OMPI_COMM_WORLD_RANK" != 1 || exit 3'
    made = mpijob("bad", "mpirun", "-n", "2", "/bin/sh", "-c", script, runPolicy={"backoffLimit": 0})
    # With OnFailure, the default, the Job's end would take the pod with it, as on any cluster.
    made["spec"]["mpiReplicaSpecs"]["Launcher"]["restartPolicy"] = "Never"
    kubectl("apply", "-f", "-", stdin=made)
    kubectl("wait", "--for=condition=Failed", "mpijob/bad", "--timeout=90s")
    code = "jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}"
    assert kubectl("get", "pods", "-l", "job-name=bad-launcher", "-o", code) == "3"


def test_a_suspended_job_waits_until_it_is_resumed(kubectl: Kubectl) -> None:
    made = mpijob("held", "mpirun", "-n", "2", "true", runPolicy={"suspend": True})
    kubectl("apply", "-f", "-", stdin=made)
    kubectl("wait", "--for=condition=Suspended", "mpijob/held", "--timeout=60s")
    assert kubectl("get", "pods", "-o", "name") == ""
    kubectl("patch", "mpijob", "held", "--type=merge", "-p", '{"spec":{"runPolicy":{"suspend":false}}}')
    kubectl("wait", "--for=condition=Succeeded", "mpijob/held", "--timeout=90s")
