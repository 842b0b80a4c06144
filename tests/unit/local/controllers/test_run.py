# ruff: noqa: ASYNC240 - a few looks at small folders
"""Garbage, namespaces, volumes and nodes on the API server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hortator.apimachinery import conditions, meta
from hortator.kube.resources import (
    CONFIG_MAPS,
    CRDS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SERVICE_ACCOUNTS,
    Resource,
)
from support.small_cluster import SmallCluster, small_cluster
from support.virtual_time import now

THINGS = Resource("example.com", "v1", "things", "Thing")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with small_cluster(tmp_path) as made:
        yield made


def config(name: str, *owners: dict[str, Any], namespace: str = "default", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": list(owners), **metadata},
    }


def owner(obj: dict[str, Any], *, block: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "blockOwnerDeletion": block,
    }


async def define_things(cluster: SmallCluster) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await cluster.client.create(
        CRDS,
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
                ],
            },
        },
    )

    async def served() -> bool:
        found = await cluster.get(CRDS, "things.example.com", None)
        return conditions.is_true((found.get("status") or {}).get("conditions"), "Established")

    await cluster.until(served)


async def add_thing(cluster: SmallCluster, name: str, namespace: str = "default") -> dict[str, Any]:
    return await cluster.client.create(
        THINGS,
        {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name, "namespace": namespace}},
    )


# Garbage


async def test_dependents_go_with_their_owner_down_the_line(cluster: SmallCluster) -> None:
    first = await cluster.client.create(CONFIG_MAPS, config("first"))
    second = await cluster.client.create(CONFIG_MAPS, config("second", owner(first)))
    await cluster.client.create(CONFIG_MAPS, config("third", owner(second)))
    await cluster.client.delete(CONFIG_MAPS, "first", namespace="default")
    for name in ("first", "second", "third"):
        await cluster.until_gone(CONFIG_MAPS, name)


async def test_a_dependent_with_another_owner_stays_with_it(cluster: SmallCluster) -> None:
    one = await cluster.client.create(CONFIG_MAPS, config("one"))
    two = await cluster.client.create(CONFIG_MAPS, config("two"))
    await cluster.client.create(CONFIG_MAPS, config("child", owner(one), owner(two)))
    await cluster.client.delete(CONFIG_MAPS, "one", namespace="default")

    async def let_go() -> bool:
        child = await cluster.get(CONFIG_MAPS, "child")
        return [ref["name"] for ref in child["metadata"]["ownerReferences"]] == ["two"]

    await cluster.until(let_go)


async def test_an_owner_that_never_was_is_absent(cluster: SmallCluster) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "no-such-uid"}
    await cluster.client.create(CONFIG_MAPS, config("child", ghost))
    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_an_owner_of_an_unknown_kind_is_not_absent(cluster: SmallCluster) -> None:
    ghost = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "ghost", "uid": "no-such-uid"}
    await cluster.client.create(CONFIG_MAPS, config("child", ghost))
    await asyncio.sleep(30)
    assert await cluster.get(CONFIG_MAPS, "child")
    # Once the kind is known, the owner is known to be absent.
    await define_things(cluster)
    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_foreground_deletion_waits_for_those_that_block_it(cluster: SmallCluster) -> None:
    parent = await cluster.client.create(CONFIG_MAPS, config("parent"))
    await cluster.client.create(
        CONFIG_MAPS, config("slow", owner(parent, block=True), finalizers=["example.com/slow"])
    )
    await cluster.client.delete(CONFIG_MAPS, "parent", namespace="default", propagation="Foreground")

    async def going() -> bool:
        return "deletionTimestamp" in (await cluster.get(CONFIG_MAPS, "slow"))["metadata"]

    await cluster.until(going)
    await asyncio.sleep(5)
    assert await cluster.get(CONFIG_MAPS, "parent")
    await cluster.client.patch(CONFIG_MAPS, "slow", {"metadata": {"finalizers": None}}, namespace="default")
    await cluster.until_gone(CONFIG_MAPS, "parent")


async def test_orphans_lose_their_owner_and_stay(cluster: SmallCluster) -> None:
    parent = await cluster.client.create(CONFIG_MAPS, config("parent"))
    await cluster.client.create(CONFIG_MAPS, config("child", owner(parent)))
    await cluster.client.delete(CONFIG_MAPS, "parent", namespace="default", propagation="Orphan")
    await cluster.until_gone(CONFIG_MAPS, "parent")
    await asyncio.sleep(5)
    assert "ownerReferences" not in (await cluster.get(CONFIG_MAPS, "child"))["metadata"]


async def test_custom_resources_own_and_are_owned(cluster: SmallCluster) -> None:
    await define_things(cluster)
    thing = await add_thing(cluster, "t")
    await cluster.client.create(CONFIG_MAPS, config("child", owner(thing)))
    await asyncio.sleep(1)
    await cluster.client.delete(THINGS, "t", namespace="default")
    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_kinds_may_go_and_come_back(cluster: SmallCluster) -> None:
    for _ in range(2):
        await define_things(cluster)
        thing = await add_thing(cluster, "t")
        await cluster.client.create(CONFIG_MAPS, config("child", owner(thing)))
        await asyncio.sleep(1)
        await cluster.client.delete(CRDS, "things.example.com")
        await cluster.until_gone(CRDS, "things.example.com", None)
        await asyncio.sleep(1)
        # Without its kind nobody can tell whether the owner is there, unless it was seen to go.
        if await cluster.get(CONFIG_MAPS, "child"):
            await cluster.client.delete(CONFIG_MAPS, "child", namespace="default")


async def test_an_owner_of_another_namespace_does_not_count(cluster: SmallCluster) -> None:
    elsewhere = await cluster.client.create(CONFIG_MAPS, config("parent", namespace="kube-node-lease"))
    await cluster.client.create(CONFIG_MAPS, config("child", owner(elsewhere)))
    await cluster.until_gone(CONFIG_MAPS, "child")
    assert await cluster.get(CONFIG_MAPS, "parent", "kube-node-lease")


async def test_an_owner_without_namespace_owns_across_namespaces(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    node = await cluster.get(NODES, "a", None)
    await cluster.client.create(CONFIG_MAPS, config("child", owner(node)))
    await asyncio.sleep(5)
    assert await cluster.get(CONFIG_MAPS, "child")
    await cluster.client.delete(NODES, "a")
    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_a_circle_of_owners_does_not_hold_itself(cluster: SmallCluster) -> None:
    one = await cluster.client.create(CONFIG_MAPS, config("one"))
    two = await cluster.client.create(CONFIG_MAPS, config("two", owner(one, block=True)))
    references = {"metadata": {"ownerReferences": [owner(two, block=True)]}}
    await cluster.client.patch(CONFIG_MAPS, "one", references, namespace="default")
    await asyncio.sleep(1)
    await cluster.client.delete(CONFIG_MAPS, "one", namespace="default", propagation="Foreground")
    await cluster.until_gone(CONFIG_MAPS, "one")
    await cluster.until_gone(CONFIG_MAPS, "two")


# Namespaces


async def test_each_namespace_is_furnished_again_and_again(cluster: SmallCluster) -> None:
    await cluster.client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    )

    async def furnished() -> Any:
        account = await cluster.get(SERVICE_ACCOUNTS, "default", "x")
        bundle = await cluster.get(CONFIG_MAPS, "kube-root-ca.crt", "x")
        return account and bundle and bundle["data"] == {"ca.crt": "CERTIFICATE"}

    await cluster.until(furnished)
    await cluster.client.delete(SERVICE_ACCOUNTS, "default", namespace="x")
    await cluster.client.patch(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "x"}}, namespace="x")
    await cluster.until(furnished)


async def test_a_deleted_namespace_goes_with_all_that_is_in_it(cluster: SmallCluster) -> None:
    await define_things(cluster)
    await cluster.client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    )
    await cluster.add_pod("p", namespace="x")
    await cluster.client.create(CONFIG_MAPS, config("c", namespace="x"))
    await add_thing(cluster, "t", "x")
    await cluster.client.delete(NAMESPACES, "x")
    await cluster.until_gone(NAMESPACES, "x", None)
    assert await cluster.client.all(THINGS) == []


async def test_a_namespace_says_what_holds_it(cluster: SmallCluster) -> None:
    await cluster.client.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    )
    await cluster.client.create(CONFIG_MAPS, config("c", namespace="x", finalizers=["example.com/slow"]))
    await cluster.client.delete(NAMESPACES, "x")

    async def said() -> Any:
        found = await cluster.get(NAMESPACES, "x", None)
        remaining = conditions.find(found["status"].get("conditions"), "NamespaceFinalizersRemaining")
        return remaining and remaining["status"] == "True" and "example.com/slow" in remaining["message"]

    await cluster.until(said)
    await cluster.client.patch(CONFIG_MAPS, "c", {"metadata": {"finalizers": None}}, namespace="x")
    await cluster.until_gone(NAMESPACES, "x", None)


# Volumes


def claim(name: str = "data", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


async def bound_volume(cluster: SmallCluster, name: str = "data") -> dict[str, Any]:
    async def bound() -> Any:
        found = await cluster.get(PERSISTENT_VOLUME_CLAIMS, name)
        if (found.get("status") or {}).get("phase") != "Bound":
            return None
        volume = await cluster.get(PERSISTENT_VOLUMES, found["spec"]["volumeName"], None)
        return volume if (volume.get("status") or {}).get("phase") == "Bound" else None

    found: dict[str, Any] = await cluster.until(bound)
    return found


async def test_a_claim_becomes_a_directory_and_goes_with_it(cluster: SmallCluster) -> None:
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    volume = await bound_volume(cluster)
    path = Path(volume["spec"]["hostPath"]["path"])
    assert path.is_dir()
    assert path.parent == cluster.data_dir / "volumes"
    assert path.name.startswith("default-data-")
    (path / "file").write_text("x")
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
    await cluster.until_gone(PERSISTENT_VOLUMES, volume["metadata"]["name"], None)
    assert not path.exists()


async def test_a_volume_that_is_to_be_kept_is_kept(cluster: SmallCluster) -> None:
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    volume = await bound_volume(cluster)
    name = volume["metadata"]["name"]
    keep = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
    await cluster.client.patch(PERSISTENT_VOLUMES, name, keep)
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")

    async def released() -> bool:
        found = await cluster.get(PERSISTENT_VOLUMES, name, None)
        return bool(found["status"]["phase"] == "Released")

    await cluster.until(released)
    await asyncio.sleep(5)
    assert Path(volume["spec"]["hostPath"]["path"]).is_dir()


async def test_a_claim_in_use_outlives_its_deletion(cluster: SmallCluster) -> None:
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
    await bound_volume(cluster)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    pod = await cluster.add_pod("user", volumes=[volume])
    await asyncio.sleep(1)
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
    await asyncio.sleep(5)
    assert await cluster.get(PERSISTENT_VOLUME_CLAIMS, "data")
    await cluster.end_pod(pod)
    await cluster.until_gone(PERSISTENT_VOLUME_CLAIMS, "data")


async def test_a_volume_made_by_hand_is_bound(cluster: SmallCluster) -> None:
    await cluster.client.create(
        PERSISTENT_VOLUMES,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "mine"},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/srv/data"},
            },
        },
    )
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName=""))
    assert (await bound_volume(cluster))["metadata"]["name"] == "mine"


# Nodes


def heartbeat(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": meta.micro_time(now())},
    }


def ready(node: dict[str, Any]) -> str:
    found = conditions.find((node.get("status") or {}).get("conditions"), "Ready")
    return str(found["status"]) if found else ""


async def test_a_silent_node_is_lost_and_found_again(cluster: SmallCluster) -> None:
    alive = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
    await cluster.add_node("a", conditions=[alive])
    await cluster.client.create(LEASES, heartbeat("a"))
    pod = await cluster.add_pod("one")
    await cluster.until_pod("one", lambda found: found["spec"].get("nodeName"))

    async def lost() -> Any:
        node = await cluster.get(NODES, "a", None)
        taints = {(one["key"], one["effect"]) for one in node.get("spec", {}).get("taints") or ()}
        unreachable = "node.kubernetes.io/unreachable"
        return ready(node) == "Unknown" and taints == {
            (unreachable, "NoSchedule"),
            (unreachable, "NoExecute"),
        }

    before = now()
    await cluster.until(lost, 120)
    assert 39 <= (now() - before).total_seconds() <= 45
    lease = await cluster.get(LEASES, "a", "kube-node-lease")
    renewed = {**heartbeat("a"), "metadata": lease["metadata"]}
    await cluster.client.replace(LEASES, renewed)
    await cluster.client.patch(
        NODES, "a", {"status": {"conditions": [alive]}}, kind="strategic", subresource="status"
    )

    async def found() -> bool:
        return not (await cluster.get(NODES, "a", None)).get("spec", {}).get("taints")

    await cluster.until(found)
    assert await cluster.get(PODS, pod["metadata"]["name"])


async def test_pods_of_a_node_that_is_gone_fail_and_go(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.add_pod("one", metadata={"finalizers": ["example.com/look"]})
    await cluster.until_pod("one", lambda found: found["spec"].get("nodeName"))
    await cluster.client.delete(NODES, "a")
    pod = await cluster.until_pod("one", lambda found: "deletionTimestamp" in found["metadata"])
    assert pod["status"]["phase"] == "Failed"
    reason = conditions.find(pod["status"]["conditions"], "DisruptionTarget")
    assert reason is not None
    assert reason["message"] == "PodGC: node no longer exists"


async def test_intolerant_pods_leave_a_tainted_node(cluster: SmallCluster) -> None:
    await cluster.add_node("a")
    await cluster.add_pod("one")
    await cluster.add_pod("two", tolerations=[{"key": "k", "operator": "Exists"}])
    for name in ("one", "two"):
        await cluster.until_pod(name, lambda found: found["spec"].get("nodeName"))
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    await cluster.client.patch(NODES, "a", {"spec": {"taints": [taint]}})
    await cluster.until_gone(PODS, "one")
    assert await cluster.get(PODS, "two")
