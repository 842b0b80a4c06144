"""Probes of real containers: what their answers do to a pod."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from hortator.kube.resources import PODS
from support.local_nodes import LocalCluster, local_cluster, marked, pod, running

OFTEN = {"periodSeconds": 1, "failureThreshold": 1}

#: Listens at the pod's address on the port that it is given, and answers 503 once a file is there.
WEB = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists(sys.argv[1]) else 200)
        self.end_headers()
http.server.HTTPServer((os.environ["IP"], 8123), Handler).serve_forever()
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path) as running_cluster:
        yield running_cluster


def restarted(times: int) -> Any:
    def reached(obj: dict[str, Any]) -> bool:
        statuses = (obj.get("status") or {}).get("containerStatuses") or [{}]
        return bool(statuses[0].get("restartCount", 0) >= times)

    return reached


def web(broken: Path, **probes: Any) -> dict[str, Any]:
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return pod(
        "p",
        container={
            "command": ["/usr/bin/python3", "-c", WEB, str(broken)],
            "env": [ip],
            "ports": [{"name": "web", "containerPort": 8123}],
            **probes,
        },
        restartPolicy="Always",
        terminationGracePeriodSeconds=1,
    )


async def test_readiness_over_http_comes_and_goes_without_a_restart(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    probe = {"httpGet": {"port": "web", "path": "/healthz"}, **OFTEN}
    await cluster.client.create(PODS, web(broken, readinessProbe=probe), namespace="default")
    await cluster.until("p", running)
    broken.touch()
    seen = await cluster.until("p", lambda obj: not running(obj))
    assert "HTTP probe failed with statuscode: 503" in cluster.events.messages("p", "Unhealthy")[-1]
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0
    ready = next(each for each in seen["status"]["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    broken.unlink()
    await cluster.until("p", running)


async def test_liveness_over_http_restarts_what_is_broken(cluster: LocalCluster, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    probe = {"httpGet": {"port": 8123}, **OFTEN}
    manifest = web(broken, livenessProbe=probe, startupProbe={**probe, "failureThreshold": 100})
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    broken.touch()
    await cluster.until("p", restarted(1))
    assert cluster.events.messages("p", "Killing") == [
        "Container main failed liveness probe, will be restarted"
    ]


async def test_a_port_where_nobody_listens_fails_the_probe(cluster: LocalCluster) -> None:
    probe = {"tcpSocket": {"port": 9}, **OFTEN}
    manifest = pod(
        "p", "exec sleep 1000", container={"livenessProbe": probe}, terminationGracePeriodSeconds=1
    )
    done = await cluster.run(manifest)
    message = cluster.events.messages("p", "Unhealthy")[0]
    assert (
        message == f"Liveness probe failed: dial tcp {done['status']['podIP']}:9: connect: connection refused"
    )
    # Its policy is Never: it is ended, and nobody says that it will be restarted.
    assert cluster.events.messages("p", "Killing") == ["Container main failed liveness probe"]
    assert done["status"]["phase"] == "Failed"


async def test_other_probes_wait_for_the_startup_probe(cluster: LocalCluster, tmp_path: Path) -> None:
    asked, started = tmp_path / "asked", tmp_path / "started"
    manifest = pod(
        "p",
        "exec sleep 1000",
        container={
            "startupProbe": {
                "exec": {"command": ["sh", "-c", f"test ! -e {asked} && test -e {started}"]},
                "periodSeconds": 1,
                "failureThreshold": 100,
            },
            "livenessProbe": {"exec": {"command": ["touch", str(asked)]}, **OFTEN},
            "readinessProbe": {"exec": {"command": ["touch", str(asked)]}, **OFTEN},
        },
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    assert (await cluster.events.until("p", "Unhealthy", 2))[1].startswith("Startup probe failed")
    seen = await cluster.client.get(PODS, "p", namespace="default")
    assert seen["status"]["containerStatuses"][0]["started"] is False
    started.touch()
    seen = await cluster.until("p", running)
    assert seen["status"]["containerStatuses"][0]["started"] is True
    assert asked.exists()


async def test_a_startup_probe_that_never_passes_ends_the_container(cluster: LocalCluster) -> None:
    probe = {
        "exec": {"command": ["sh", "-c", "echo not yet; exit 1"]},
        "periodSeconds": 1,
        "failureThreshold": 2,
    }
    manifest = pod(
        "p",
        "trap 'exit 3' TERM; while :; do sleep 0.05; done",
        container={"startupProbe": probe},
        restartPolicy="OnFailure",
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    seen = await cluster.until("p", restarted(1))
    assert seen["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3
    assert cluster.events.messages("p", "Unhealthy")[:2] == ["Startup probe failed: not yet\n"] * 2
    assert (
        cluster.events.messages("p", "Killing")[0] == "Container main failed startup probe, will be restarted"
    )


async def test_a_probe_that_takes_too_long_has_failed_and_is_killed(cluster: LocalCluster) -> None:
    mark = uuid.uuid4().hex
    command = ["sh", "-c", f"trap '' HUP TERM; MARK={mark} sleep 1000"]
    probe = {"exec": {"command": command}, "periodSeconds": 1, "timeoutSeconds": 1}
    manifest = pod("p", "exec sleep 1000", container={"readinessProbe": probe})
    await cluster.client.create(PODS, manifest, namespace="default")
    message = (await cluster.events.until("p", "Unhealthy"))[0]
    assert message == f'Readiness probe failed: command timed out: "{" ".join(command)}" timed out after 1s'
    await cluster.events.until("p", "Unhealthy", 3)
    # Only the attempt that is under way is there.
    assert len(marked(mark)) <= 1


async def test_a_probe_that_cannot_be_asked_counts_for_nothing(cluster: LocalCluster) -> None:
    probe = {"exec": {"command": ["no-such-program"]}, **OFTEN}
    manifest = pod("p", "exec sleep 1000", container={"livenessProbe": probe}, restartPolicy="Always")
    await cluster.client.create(PODS, manifest, namespace="default")
    for message in await cluster.events.until("p", "Unhealthy", 3):
        assert message == (
            "Liveness probe errored and resulted in unknown state: "
            'exec: "no-such-program": executable file not found in $PATH'
        )
    seen = await cluster.client.get(PODS, "p", namespace="default")
    assert seen["status"]["containerStatuses"][0]["restartCount"] == 0
    assert cluster.events.messages("p", "Killing") == []


async def test_a_probe_has_a_grace_of_its_own_and_sees_the_containers_variables(
    cluster: LocalCluster,
) -> None:
    manifest = pod(
        "p",
        "trap '' TERM; while :; do sleep 0.05; done",
        container={
            "env": [{"name": "CODE", "value": "1"}],
            "livenessProbe": {
                "exec": {"command": ["sh", "-c", "exit $(CODE)"]},
                "terminationGracePeriodSeconds": 1,
                **OFTEN,
            },
        },
        terminationGracePeriodSeconds=3600,
    )
    done = await cluster.run(manifest)
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
