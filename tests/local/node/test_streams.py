"""Attach, port-forward, ephemeral containers, identities and claims of pods."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from hortator.kube.http import Request
from hortator.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from hortator.local.streams import STDERR, STDOUT, ContainerNotFound, LogOptions, NotRunning
from support.local_nodes import LocalCluster, ended, local_cluster, pod, running


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(
        tmp_path, nodes={"local": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "2"}}
    ) as each:
        yield each


async def test_attach_gives_the_programs_own_streams(cluster: LocalCluster) -> None:
    script = "read line; echo got $line; echo trouble >&2; cat; exit 6"
    manifest = pod("p", script, container={"stdin": True, "stdinOnce": True})
    await cluster.client.create(PODS, manifest, namespace="default")
    seen = await cluster.until("p", running)
    session = await cluster.host.agents["local"].attach(seen, "main", stdin=True, tty=False)
    await session.write(b"one\ntwo\n")
    await session.close_stdin()
    output: dict[int, bytes] = {STDOUT: b"", STDERR: b""}
    async for stream, data in session.output():
        output[stream] += data
    assert output == {STDOUT: b"got one\ntwo\n", STDERR: b"trouble\n"}
    assert await session.wait() == 6
    await session.close()


async def test_a_port_of_a_pod_can_be_reached(cluster: LocalCluster) -> None:
    script = (
        "import socket,os\n"
        "s=socket.create_server((os.environ['IP'],0)); print(s.getsockname()[1],flush=True)\n"
        "c,_=s.accept(); c.sendall(c.recv(9).upper()); c.close()"
    )
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    manifest = pod("p", container={"command": ["/usr/bin/python3", "-c", script], "env": [ip]})
    await cluster.client.create(PODS, manifest, namespace="default")
    seen = await cluster.until("p", running)
    log = cluster.host.agents["local"].logs(seen, LogOptions(container="main", follow=True))
    port = int(await anext(log) or await anext(log))
    session = await cluster.host.agents["local"].port_forward(seen, port)
    await session.write(b"hello")
    assert [data async for _, data in session.output()] == [b"HELLO"]
    assert await session.wait() == 0
    await session.close()


async def test_an_ephemeral_container_joins_a_running_pod(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p", "exec sleep 1000"), namespace="default")
    await cluster.until("p", running)
    debugger = {"name": "debug", "image": "i", "command": ["sh", "-c", "hostname"]}
    await cluster.client.patch(
        PODS,
        "p",
        {"spec": {"ephemeralContainers": [debugger]}},
        namespace="default",
        kind="strategic",
        subresource="ephemeralcontainers",
    )

    seen = await cluster.until(
        "p",
        lambda obj: any(
            "terminated" in each["state"] for each in obj["status"].get("ephemeralContainerStatuses") or ()
        ),
    )
    assert seen["status"]["phase"] == "Running"
    assert await cluster.log("p", container="debug") == b"p\n"


async def test_an_ephemeral_container_is_started_beside_init_containers_and_once(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    init = {
        "name": "init",
        "image": "i",
        "command": ["sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"],
    }
    manifest = pod("p", "true", initContainers=[init], restartPolicy="OnFailure")
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", lambda obj: "podIP" in (obj.get("status") or {}))
    debugger = {"name": "debug", "image": "i", "command": ["sh", "-c", f"touch {tmp_path}/go; exit 3"]}
    await cluster.client.patch(
        PODS,
        "p",
        {"spec": {"ephemeralContainers": [debugger]}},
        namespace="default",
        kind="strategic",
        subresource="ephemeralcontainers",
    )
    done = await cluster.until("p", ended)
    assert done["status"]["phase"] == "Succeeded"
    status = done["status"]["ephemeralContainerStatuses"][0]
    assert (status["state"]["terminated"]["exitCode"], status["restartCount"]) == (3, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_root_can_run_a_pod_as_somebody_else(cluster: LocalCluster) -> None:
    manifest = pod("p", "id -u; id -g; echo $HOME", securityContext={"runAsUser": 65534, "runAsGroup": 100})
    await cluster.run(manifest)
    assert (await cluster.log("p")).decode().split()[:2] == ["65534", "100"]


async def test_run_as_non_root_is_honoured(cluster: LocalCluster) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: nobody else would run as root")
    await cluster.client.create(
        PODS, pod("p", "true", securityContext={"runAsNonRoot": True}), namespace="default"
    )
    seen = await cluster.until(
        "p",
        lambda obj: any(
            (each["state"].get("waiting") or {}).get("reason") == "CreateContainerConfigError"
            for each in (obj.get("status") or {}).get("containerStatuses") or ()
        ),
    )
    assert "runAsNonRoot" in seen["status"]["containerStatuses"][0]["state"]["waiting"]["message"]


async def test_a_claim_is_a_directory_that_outlives_its_pods(cluster: LocalCluster) -> None:
    claim = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim, namespace="default")
    for name, script in (("a", "echo kept > /claim/f"), ("b", "cat /claim/f")):
        done = await cluster.run(
            pod(
                name,
                script,
                container={"volumeMounts": [{"name": "v", "mountPath": "/claim"}]},
                volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
            )
        )
        assert done["status"]["phase"] == "Succeeded"
    assert await cluster.log("b") == b"kept\n"


async def test_memory_volumes_are_memory_and_go_with_the_pod(cluster: LocalCluster) -> None:
    done = await cluster.run(
        pod(
            "p",
            "stat -fc %T /ram; touch /ram/x",
            container={"volumeMounts": [{"name": "v", "mountPath": "/ram"}]},
            volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}],
        )
    )
    assert done["status"]["phase"] == "Succeeded"
    assert await cluster.log("p") == b"tmpfs\n"
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")
    await cluster.host.agents["local"].settled()
    assert not list(Path("/dev/shm").glob(f"*/{done['metadata']['uid']}"))  # noqa: ASYNC240


async def test_what_is_not_there_is_said(cluster: LocalCluster) -> None:
    node = cluster.host.agents["local"]
    await cluster.client.create(PODS, pod("p"), namespace="default")
    seen = await cluster.until("p", lambda obj: bool((obj.get("status") or {}).get("containerStatuses")))
    with pytest.raises(NotRunning):
        await node.exec(seen, "main", ["true"], stdin=False, tty=False)
    with pytest.raises(ContainerNotFound, match="not valid for pod"):
        await node.exec(seen, "other", ["true"], stdin=False, tty=False)
    with pytest.raises(ContainerNotFound, match="is waiting to start"):
        await anext(node.logs(seen, LogOptions(container="main")))


async def test_a_followed_log_is_answered_before_the_container_says_anything(cluster: LocalCluster) -> None:
    # A client that waits for the answer's head gives up after a while: a quiet program is not a dead server.
    await cluster.client.create(
        PODS, pod("p", "read line; echo $line", container={"stdin": True}), namespace="default"
    )
    seen = await cluster.until("p", running)
    query = (("follow", "true"),)
    answer = await cluster.client.transport.stream(
        Request("GET", "/api/v1/namespaces/default/pods/p/log", query)
    )
    session = await cluster.host.agents["local"].attach(seen, "main", stdin=True, tty=False)
    await session.write(b"at last\n")
    assert answer.stream is not None
    assert b"".join([chunk async for chunk in answer.stream]) == b"at last\n"
    await session.close()


async def test_twenty_pods_at_once(cluster: LocalCluster) -> None:
    names = [f"p{number}" for number in range(20)]
    for name in names:
        await cluster.client.create(PODS, pod(name, f"echo {name}"), namespace="default")
    for name in names:
        done = await cluster.until(name, ended)
        assert done["status"]["phase"] == "Succeeded"
        assert await cluster.log(name) == f"{name}\n".encode()


async def test_a_program_that_takes_more_memory_than_its_limit_is_oom_killed(cluster: LocalCluster) -> None:
    await cluster.host.ready.wait()
    if cluster.host.memory is None:
        pytest.skip("no control group here lets memory be limited")
    script = "x = bytearray(300 << 20); print(len(x))"
    manifest = pod(
        "p",
        container={
            "command": ["/usr/bin/python3", "-c", script],
            "resources": {"limits": {"memory": "100Mi"}},
        },
    )
    done = await cluster.run(manifest)
    terminated = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "OOMKilled")
    await cluster.host.zygote.close()
    assert list(cluster.host.memory.parent.glob("hortator-*")) == []
