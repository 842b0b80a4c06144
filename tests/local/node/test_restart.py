"""What becomes of pods when the cluster stops, or was killed, while they ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hortator.kube.resources import PODS
from hortator.local.streams import LogOptions
from support.local_nodes import LocalCluster, ended, existing_paths, local_cluster, pod, running

STARTED = "2026-01-01T00:00:00Z"


async def record_running(cluster: LocalCluster, manifest: dict[str, Any]) -> None:
    """Store a pod as a cluster leaves it that is killed while the pod runs: no process is there."""
    manifest["spec"]["nodeName"] = "local"
    name = manifest["metadata"]["name"]
    await cluster.client.create(PODS, manifest, namespace="default")
    status = {
        "phase": "Running",
        "startTime": STARTED,
        "containerStatuses": [
            {
                "name": "main",
                "image": "none",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "containerID": "hort://before",
                "state": {"running": {"startedAt": STARTED}},
            }
        ],
    }
    await cluster.client.patch(PODS, name, {"status": status}, namespace="default", subresource="status")


@pytest.mark.parametrize(("policy", "runs_again"), [("Never", False), ("OnFailure", True), ("Always", True)])
async def test_after_a_kill_a_pod_is_reported_and_restarted_as_its_policy_says(
    tmp_path: Path, policy: str, runs_again: bool
) -> None:
    async with local_cluster(tmp_path, journal=True, nodes={"other": {"cpu": "1"}}) as cluster:
        await record_running(cluster, pod("p", "exec sleep 1000", restartPolicy=policy))
    async with local_cluster(tmp_path, journal=True) as cluster:
        seen = await cluster.until(
            "p",
            lambda obj: (
                ended(obj) or (obj["status"]["containerStatuses"][0]["restartCount"] == 1 and running(obj))
            ),
        )
        status = seen["status"]["containerStatuses"][0]
        terminated = (status["lastState"] if runs_again else status["state"])["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (137, "ContainerStatusUnknown")
        assert "cluster was stopped" in terminated["message"]
        assert terminated["startedAt"] == STARTED
        assert seen["status"]["phase"] == ("Running" if runs_again else "Failed")
        assert "NodeLost" in cluster.events.reasons("p")


async def test_stopping_the_cluster_ends_pods_and_says_so(tmp_path: Path) -> None:
    async with local_cluster(tmp_path, journal=True) as cluster:
        await cluster.client.create(
            PODS,
            pod("p", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"),
            namespace="default",
        )
        await cluster.until("p", running)
        await cluster.says("p", b"up")
    async with local_cluster(tmp_path, journal=True) as cluster:
        seen = await cluster.client.get(PODS, "p", namespace="default")
        assert (seen["status"]["phase"], seen["status"]["reason"]) == ("Failed", "Terminated")
        target = next(each for each in seen["status"]["conditions"] if each["type"] == "DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
        assert await cluster.log("p") == b"up\nbye\n"
        await cluster.client.delete(PODS, "p", namespace="default")
        await cluster.gone("p")


async def test_a_pod_that_was_being_deleted_is_removed(tmp_path: Path) -> None:
    async with local_cluster(tmp_path, journal=True, nodes={"other": {"cpu": "1"}}) as cluster:
        await record_running(cluster, pod("p", "exec sleep 1000"))
        await cluster.client.delete(PODS, "p", namespace="default")
    async with local_cluster(tmp_path, journal=True) as cluster:
        await cluster.gone("p")


async def test_folders_of_pods_that_are_no_more_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "data" / "pods" / "00000000-0000-0000-0000-000000000000"
    left.mkdir(parents=True)
    async with local_cluster(tmp_path) as cluster:
        await cluster.host.ready.wait()
        assert list((tmp_path / "data" / "pods").iterdir()) == []


async def test_a_deleted_pods_folders_go_when_nobody_reads_its_log_any_more(tmp_path: Path) -> None:
    async with local_cluster(tmp_path) as cluster:
        done = await cluster.run(pod("p", "echo one; echo two"))
        folder = tmp_path / "data" / "pods" / done["metadata"]["uid"]
        node = cluster.host.agents["local"]
        reader = node.logs(done, LogOptions(container="main"))
        assert await anext(reader) == b"one\ntwo\n"
        await cluster.client.delete(PODS, "p", namespace="default")
        await cluster.gone("p")
        assert existing_paths(str(folder)) != []
        assert [chunk async for chunk in reader] == []
        await node.settled()
        assert existing_paths(str(folder)) == []
