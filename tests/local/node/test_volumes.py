"""Volumes of running containers: which follow their objects, which do not, and what is missing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from hortator.kube.resources import CONFIG_MAPS, PODS, SECRETS
from support.local_nodes import LocalCluster, ended, local_cluster, pod, running

#: Writes the named file whenever what it holds has changed.
WATCH = 'last=; while :; do now=$(cat FILE 2>&1); [ "$now" = "$last" ] || echo "$now"; last=$now; sleep 0.02; done'


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path) as running_cluster:
        yield running_cluster


async def config_map(cluster: LocalCluster, name: str, **data: str) -> None:
    await cluster.client.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": data}, namespace="default")


async def watching(cluster: LocalCluster, file: str, volume: dict[str, Any], **mount: Any) -> dict[str, Any]:
    """Run a pod ``p`` with the volume at ``/vol`` that writes down what a file holds."""
    manifest = pod(
        "p",
        WATCH.replace("FILE", file),
        container={"volumeMounts": [{"name": "v", "mountPath": "/vol"}], **mount},
        volumes=[{"name": "v", **volume}],
        metadata={"labels": {"stage": "one"}},
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    return await cluster.until("p", running)


async def test_a_secret_is_followed(cluster: LocalCluster) -> None:
    def data(text: str) -> dict[str, str]:
        return {"key": base64.b64encode(text.encode()).decode()}

    await cluster.client.create(
        SECRETS, {"metadata": {"name": "s"}, "data": data("old")}, namespace="default"
    )
    await watching(cluster, "/vol/key", {"secret": {"secretName": "s"}})
    await cluster.says("p", b"old\n")
    await cluster.client.patch(SECRETS, "s", {"data": data("new")}, namespace="default")
    await cluster.says("p", b"new\n")
    await cluster.client.patch(SECRETS, "s", {"data": {"key": None, "other": "eA=="}}, namespace="default")
    await cluster.says("p", b"No such file")


async def test_labels_are_followed(cluster: LocalCluster) -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    await watching(cluster, "/vol/labels", {"downwardAPI": {"items": [item]}})
    await cluster.says("p", b'stage="one"\n')
    await cluster.client.patch(PODS, "p", {"metadata": {"labels": {"stage": "two"}}}, namespace="default")
    await cluster.says("p", b'stage="two"\n')


async def test_what_is_optional_may_come_later_and_go(cluster: LocalCluster) -> None:
    await watching(cluster, "/vol/a", {"configMap": {"name": "late", "optional": True}})
    await cluster.says("p", b"No such file")
    await config_map(cluster, "late", a="here")
    await cluster.says("p", b"here\n")
    await cluster.client.delete(CONFIG_MAPS, "late", namespace="default")
    await cluster.says("p", b"here\ncat: ")


async def test_what_must_be_there_stays_when_its_object_goes(cluster: LocalCluster) -> None:
    await config_map(cluster, "c", a="kept")
    await watching(cluster, "/vol/a", {"configMap": {"name": "c"}})
    await cluster.client.delete(CONFIG_MAPS, "c", namespace="default")
    messages = await cluster.events.until("p", "FailedMount")
    assert messages == ['MountVolume.SetUp failed for volume "v" : configmap "c" not found']
    await config_map(cluster, "c", a="again")
    await cluster.says("p", b"kept\nagain\n")


async def test_a_part_of_a_volume_stays_as_it_was(cluster: LocalCluster) -> None:
    await config_map(cluster, "c", a="old", b="old")
    mounts = [
        {"name": "v", "mountPath": "/vol"},
        {"name": "v", "mountPath": "/part", "subPath": "b"},
    ]
    await watching(cluster, "/vol/a", {"configMap": {"name": "c"}}, volumeMounts=mounts)
    await cluster.client.patch(CONFIG_MAPS, "c", {"data": {"a": "new", "b": "new"}}, namespace="default")
    await cluster.says("p", b"new\n")
    seen = await cluster.client.get(PODS, "p", namespace="default")
    session = await cluster.host.agents["local"].exec(
        seen, "main", ["cat", "/vol/b", "/part"], stdin=False, tty=False
    )
    assert b"".join([data async for _, data in session.output()]) == b"newold"
    await session.close()


async def test_a_projected_volume_holds_all_of_its_sources(cluster: LocalCluster) -> None:
    await config_map(cluster, "c", a="from a map")
    sources = [
        {"configMap": {"name": "c", "items": [{"key": "a", "path": "deep/a"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
    ]
    done = await cluster.run(
        pod(
            "p",
            "cat /vol/deep/a; echo; cat /vol/name; echo; stat -Lc %a /vol/token; cat /vol/token",
            container={"volumeMounts": [{"name": "v", "mountPath": "/vol"}]},
            volumes=[{"name": "v", "projected": {"sources": sources}}],
        )
    )
    *lines, token = (await cluster.log("p")).decode().splitlines()
    assert lines == ["from a map", "p", "600"]
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert (claims["aud"], claims["exp"] - claims["iat"]) == (["vault"], 600)
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": done["metadata"]["uid"]}


async def test_a_missing_key_holds_the_pod_until_it_is_there(cluster: LocalCluster) -> None:
    await config_map(cluster, "c", a="1")
    manifest = pod(
        "p",
        "cat /vol/z",
        container={"volumeMounts": [{"name": "v", "mountPath": "/vol"}]},
        volumes=[{"name": "v", "configMap": {"name": "c", "items": [{"key": "z", "path": "z"}]}}],
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    assert await cluster.events.until("p", "FailedMount") == [
        'MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: z'
    ]
    seen = await cluster.client.get(PODS, "p", namespace="default")
    ready = next(each for each in seen["status"]["conditions"] if each["type"] == "PodReadyToStartContainers")
    assert ready["status"] == "False"
    await cluster.client.patch(CONFIG_MAPS, "c", {"data": {"z": "2"}}, namespace="default")
    await cluster.until("p", ended)
    assert await cluster.log("p") == b"2"


async def test_a_part_that_leads_out_of_its_volume_is_not_mounted(cluster: LocalCluster) -> None:
    mount = {"name": "v", "mountPath": "/vol", "subPathExpr": "$(PART)"}
    container = {"env": [{"name": "PART", "value": "/etc"}], "volumeMounts": [mount]}
    await cluster.client.create(
        PODS,
        pod("p", "true", container=container, volumes=[{"name": "v", "emptyDir": {}}]),
        namespace="default",
    )
    messages = await cluster.events.until("p", "Failed")
    assert messages == ['Error: subPath "/etc" must be relative and stay inside the volume']
    seen = await cluster.until("p", lambda obj: bool((obj.get("status") or {}).get("containerStatuses")))
    waiting = seen["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
