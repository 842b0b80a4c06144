"""Lifecycle hooks of real containers: when they run, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hortator.kube.resources import PODS
from support.local_nodes import LocalCluster, local_cluster, pod, running

LOOP = "while :; do sleep 0.05; done"


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path) as running_cluster:
        yield running_cluster


def sh(script: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}}


async def test_a_container_is_running_when_its_post_start_hook_has_ended(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    entered, go = tmp_path / "entered", tmp_path / "go"
    hook = sh(f"touch {entered}; until [ -e {go} ]; do sleep 0.05; done")
    second = {"name": "second", "image": "i", "command": ["sh", "-c", f"test -e {go} && sleep 1000"]}
    manifest = pod(
        "p", f"touch {tmp_path}/main; exec sleep 1000", container={"lifecycle": {"postStart": hook}}
    )
    manifest["spec"]["containers"].append(second)
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.events.until("p", "Started")
    seen = await cluster.client.get(PODS, "p", namespace="default")
    assert seen["status"]["phase"] == "Pending"
    for status in seen["status"]["containerStatuses"]:
        assert status["state"] == {"waiting": {"reason": "ContainerCreating"}}
    go.touch()
    await cluster.until("p", running)
    # Had the second been started beside the hook, it would have failed.
    assert cluster.events.messages("p", "Started") == ["Container started: main", "Container started: second"]


async def test_a_post_start_hook_that_fails_ends_the_container(cluster: LocalCluster, tmp_path: Path) -> None:
    hook = sh(f"until [ -e {tmp_path}/up ]; do sleep 0.02; done; echo secret; exit 1")
    script = f"trap 'exit 4' TERM; touch {tmp_path}/up; {LOOP}"
    done = await cluster.run(pod("p", script, container={"lifecycle": {"postStart": hook}}))
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    assert cluster.events.messages("p", "FailedPostStartHook") == ["PostStartHook failed"]
    assert cluster.events.messages("p", "Killing") == ["FailedPostStartHook"]


async def test_term_comes_after_the_pre_stop_hook(cluster: LocalCluster, tmp_path: Path) -> None:
    order = tmp_path / "order"
    manifest = pod(
        "p",
        f"trap 'echo term >> {order}; exit 0' TERM; echo up; {LOOP}",
        container={"lifecycle": {"preStop": sh(f"echo begin >> {order}; sleep 0.3; echo end >> {order}")}},
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    await cluster.says("p", b"up")
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")
    assert order.read_text().split() == ["begin", "end", "term"]
    assert "FailedPreStopHook" not in cluster.events.reasons("p")


@pytest.mark.parametrize(
    "hook", [sh("exit 1"), {"exec": {"command": ["no-such-program"]}}, {"tcpSocket": {"port": 1}}]
)
async def test_a_pre_stop_hook_that_fails_is_told_and_holds_nothing_up(
    cluster: LocalCluster, tmp_path: Path, hook: dict[str, Any]
) -> None:
    manifest = pod(
        "p",
        f"trap 'touch {tmp_path}/term; exit 0' TERM; echo up; {LOOP}",
        container={"lifecycle": {"preStop": hook}},
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    await cluster.says("p", b"up")
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")
    assert cluster.events.messages("p", "FailedPreStopHook") == ["PreStopHook failed"]
    assert (tmp_path / "term").exists()


async def test_a_pre_stop_hook_has_the_pods_grace_and_no_more(cluster: LocalCluster) -> None:
    manifest = pod(
        "p", f"trap 'exit 5' TERM; {LOOP}", container={"lifecycle": {"preStop": sh("exec sleep 1000")}}
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    await cluster.client.delete(PODS, "p", namespace="default", grace_seconds=1)
    # The program itself still gets TERM, and time for it.
    seen = await cluster.until(
        "p", lambda obj: "terminated" in obj["status"]["containerStatuses"][0]["state"]
    )
    assert seen["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 5


async def test_a_hook_can_be_a_request(cluster: LocalCluster) -> None:
    script = (
        "import http.server,os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "  def do_GET(self):\n"
        "    print(self.path, self.headers['User-Agent'], flush=True); self.send_response(500); self.end_headers()\n"
        "  def log_message(self, *_): pass\n"
        "http.server.HTTPServer((os.environ['IP'],8124),H).serve_forever()\n"
    )
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    manifest = pod(
        "p",
        container={
            "command": ["/usr/bin/python3", "-c", script],
            "env": [ip],
            "lifecycle": {"preStop": {"httpGet": {"port": 8124, "path": "/bye"}}},
            "readinessProbe": {"tcpSocket": {"port": 8124}, "periodSeconds": 1},
        },
        terminationGracePeriodSeconds=5,
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    seen = await cluster.until("p", running)
    node = cluster.host.agents["local"]
    session = await node.attach(seen, "main", stdin=False, tty=False)
    await cluster.client.delete(PODS, "p", namespace="default")
    output = b"".join([data async for _, data in session.output()])
    assert output == b"/bye kube-lifecycle/1.36\n"
    await session.close()
    await cluster.gone("p")
    # Any answer will do.
    assert "FailedPreStopHook" not in cluster.events.reasons("p")


async def test_a_hook_can_be_a_pause(cluster: LocalCluster) -> None:
    manifest = pod(
        "p",
        "exec sleep 1000",
        container={"lifecycle": {"preStop": {"sleep": {"seconds": 3599}}}},
        terminationGracePeriodSeconds=3600,
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.events.until("p", "Killing")
    # It stays what it was, ready and all, while the hook goes on.
    assert running(await cluster.client.get(PODS, "p", namespace="default"))
    await cluster.client.delete(PODS, "p", namespace="default", grace_seconds=1)
    await cluster.gone("p")
