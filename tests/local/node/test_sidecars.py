"""Native sidecars (init containers that are restarted): begun in their order, kept running, ended last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from hortator.kube.resources import JOBS, PODS
from support.local_nodes import LocalCluster, ended, local_cluster, pod, running

LOOP = "while :; do sleep 0.02; done"


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path) as running_cluster:
        yield running_cluster


def sidecar(name: str, script: str, **more: Any) -> dict[str, Any]:
    command = ["sh", "-c", script.replace("$", "$$")]
    return {"name": name, "image": "i", "command": command, "restartPolicy": "Always", **more}


def status_of(obj: dict[str, Any], name: str) -> dict[str, Any]:
    everyone = [*obj["status"]["initContainerStatuses"], *obj["status"]["containerStatuses"]]
    found: dict[str, Any] = next(each for each in everyone if each["name"] == name)
    return found


async def test_what_follows_a_sidecar_waits_for_its_startup_probe(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    up = tmp_path / "up"
    probe = {"exec": {"command": ["test", "-e", str(up)]}, "periodSeconds": 1, "failureThreshold": 100}
    manifest = pod("p", f"test -e {up}", initContainers=[sidecar("s", LOOP, startupProbe=probe)])
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.events.until("p", "Unhealthy")
    seen = await cluster.client.get(PODS, "p", namespace="default")
    assert (seen["status"]["phase"], cluster.events.messages("p", "Started")) == (
        "Pending",
        ["Container started: s"],
    )
    up.touch()
    assert (await cluster.until("p", ended))["status"]["phase"] == "Succeeded"


async def test_sidecars_end_after_the_others_from_the_last_to_the_first(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    script = "trap 'echo NAME >> FILE; exit 0' TERM; echo up; LOOP".replace("LOOP", LOOP).replace(
        "FILE", str(order)
    )
    manifest = pod(
        "p",
        script.replace("NAME", "main"),
        initContainers=[sidecar(name, script.replace("NAME", name)) for name in ("first", "second")],
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    for name in ("first", "second", "main"):
        await cluster.says("p", b"up", container=name)
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")
    assert order.read_text().split() == ["main", "second", "first"]


async def test_all_containers_share_the_pods_grace(cluster: LocalCluster) -> None:
    deaf = f"trap '' TERM; {LOOP}"
    manifest = pod(
        "p",
        deaf,
        initContainers=[sidecar("s", deaf), sidecar("t", deaf)],
        terminationGracePeriodSeconds=1,
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")


async def test_a_sidecar_that_ends_is_started_again_and_does_not_fail_the_pod(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    script = f"test -e {again} || {{ touch {again}; exit 7; }}; trap 'exit 8' TERM; touch {again}2; {LOOP}"
    manifest = pod("p", f"until [ -e {again}2 ]; do sleep 0.05; done", initContainers=[sidecar("s", script)])
    done = await cluster.run(manifest)
    assert done["status"]["phase"] == "Succeeded"
    status = status_of(done, "s")
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["state"]["terminated"]["exitCode"] == 8


async def test_a_sidecar_that_is_not_ready_makes_its_pod_unready(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    probe = {"exec": {"command": ["test", "-e", str(ready)]}, "periodSeconds": 1}
    manifest = pod("p", "exec sleep 1000", initContainers=[sidecar("s", LOOP, readinessProbe=probe)])
    await cluster.client.create(PODS, manifest, namespace="default")
    seen = await cluster.until("p", running)
    condition = next(each for each in seen["status"]["conditions"] if each["type"] == "Ready")
    assert (condition["status"], condition["message"]) == ("False", "containers with unready status: [s]")
    ready.touch()
    await cluster.until("p", lambda obj: status_of(obj, "s")["ready"])


async def test_a_job_with_a_sidecar_completes(cluster: LocalCluster) -> None:
    template = pod("x", "echo done", initContainers=[sidecar("s", f"trap 'exit 0' TERM; {LOOP}")])["spec"]
    await cluster.client.create(
        JOBS, {"metadata": {"name": "j"}, "spec": {"template": {"spec": template}}}, namespace="default"
    )
    async for event in cluster.client.watch(JOBS, namespace="default", fields="metadata.name=j"):
        if any(
            each["type"] == "Complete" and each["status"] == "True"
            for each in (event.object.get("status") or {}).get("conditions") or ()
        ):
            break
    assert event.object["status"]["succeeded"] == 1
