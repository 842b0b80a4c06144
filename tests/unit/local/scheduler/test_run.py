from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hortator.apimachinery import conditions
from hortator.kube.http import Request, Response
from hortator.kube.resources import NODES, PODS
from hortator.kube.resources import PERSISTENT_VOLUME_CLAIMS as CLAIMS
from hortator.kube.resources import PERSISTENT_VOLUMES as VOLUMES
from hortator.kube.resources import PRIORITY_CLASSES as PRIORITY
from support.small_cluster import SmallCluster, small_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with small_cluster(tmp_path) as made:
        yield made


def bound(pod: dict[str, Any]) -> str:
    return str(pod["spec"].get("nodeName") or "")


def scheduled(pod: dict[str, Any]) -> Any:
    return conditions.find((pod.get("status") or {}).get("conditions"), "PodScheduled") or {}


async def test_a_pod_is_bound_and_told(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.add_pod("one")
    assert bound(await cluster.until_pod("one", bound)) == "a"
    assert cluster.notes.message("Scheduled") == "Successfully assigned default/one to a"


async def test_a_pod_waits_with_the_reason_until_room_comes(cluster: SmallCluster) -> None:
    await cluster.add_node("a", cpu="2")
    first = await cluster.add_pod("first", cpu="2")
    await cluster.until_pod("first", bound)
    await cluster.add_pod("second", cpu="2")
    waiting = await cluster.until_pod("second", lambda pod: scheduled(pod).get("status") == "False")
    assert scheduled(waiting)["reason"] == "Unschedulable"
    assert scheduled(waiting)["message"] == cluster.notes.message("FailedScheduling")
    assert scheduled(waiting)["message"].startswith(
        "0/1 nodes are available: 1 Insufficient cpu. preemption:"
    )
    await cluster.end_pod(first)
    await cluster.until_pod("second", bound)


async def test_a_pod_waits_for_a_node(cluster: SmallCluster) -> None:
    await cluster.add_pod("one")
    await cluster.until_pod("one", scheduled)
    assert cluster.notes.message("FailedScheduling") == "no nodes available to schedule pods"
    await cluster.add_node("a")
    await cluster.until_pod("one", bound)


async def test_gates_hold_a_pod(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.add_pod("one", schedulingGates=[{"name": "example.com/wait"}])
    waiting = await cluster.until_pod("one", scheduled)
    assert scheduled(waiting)["reason"] == "SchedulingGated"
    assert scheduled(waiting)["message"] == "Scheduling is blocked due to non-empty scheduling gates"
    await cluster.client.patch(PODS, "one", {"spec": {"schedulingGates": None}}, namespace="default")
    await cluster.until_pod("one", bound)


async def test_pods_of_other_schedulers_are_left_alone(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.add_pod("theirs", schedulerName="other")
    await cluster.add_pod("ours")
    await cluster.until_pod("ours", bound)
    assert not bound(await cluster.get(PODS, "theirs"))


async def test_a_more_important_pod_takes_the_room(cluster: SmallCluster) -> None:
    await cluster.add_node("a", cpu="2")
    await cluster.client.create(
        PRIORITY,
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "high"},
            "value": 1000,
        },
    )
    await cluster.add_pod("low", cpu="2")
    await cluster.until_pod("low", bound)
    high = await cluster.add_pod("high", cpu="2", priorityClassName="high", priority=1000)
    await cluster.until_pod("high", bound)
    assert await cluster.get(PODS, "low") is None
    assert cluster.notes.message("Preempted") == f"Preempted by pod {high['metadata']['uid']} on node a"


async def test_a_binding_that_fails_is_tried_again(cluster: SmallCluster) -> None:
    refused = []

    def once(request: Request) -> Response | None:
        if request.path.endswith("/binding") and not refused:
            refused.append(request.path)
            return Response(503, {"content-type": "application/json"}, b'{"kind":"Status","code":503}')
        return None

    cluster.intercept = once
    await cluster.add_node("a")
    await cluster.add_pod("one", cpu="3")
    await cluster.until_pod("one", bound)
    assert len(refused) == 1


async def test_a_cordoned_node_gets_nothing_until_it_is_free_again(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.client.patch(NODES, "a", {"spec": {"unschedulable": True}})
    await cluster.add_pod("one")
    waiting = await cluster.until_pod("one", scheduled)
    assert "1 node(s) were unschedulable" in scheduled(waiting)["message"]
    await cluster.client.patch(NODES, "a", {"spec": {"unschedulable": None}})
    await cluster.until_pod("one", bound)


async def test_a_pod_waits_for_its_volume_claim(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await cluster.add_pod("one", volumes=[volume])
    waiting = await cluster.until_pod("one", scheduled)
    assert 'persistentvolumeclaim "data" not found' in scheduled(waiting)["message"]
    await cluster.client.create(
        CLAIMS,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )
    await cluster.until_pod("one", bound)


async def test_devices_by_resource_claims_are_refused_not_ignored(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    claims = [{"name": "gpu", "resourceClaimName": "one"}]
    await cluster.add_pod("one", resourceClaims=claims)
    waiting = await cluster.until_pod("one", scheduled)
    assert (
        "resource claims (dynamic resource allocation) are not supported here"
        in scheduled(waiting)["message"]
    )


async def test_a_pod_goes_where_its_volume_is(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.add_node("b")
    there = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}
    for name in ("a", "b"):
        labels = {"metadata": {"labels": {"kubernetes.io/hostname": name}}}
        await cluster.client.patch(NODES, name, labels)
    await cluster.client.create(
        VOLUMES,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "disk"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/srv"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [there]}]}},
            },
        },
    )
    await cluster.client.create(
        CLAIMS,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {
                "storageClassName": "",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    for number in range(3):
        name = f"pod-{number}"
        await cluster.add_pod(name, volumes=[volume])
        assert bound(await cluster.until_pod(name, bound)) == "b"
