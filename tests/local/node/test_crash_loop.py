"""Containers that end and are started again: by which policy, after what pause, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hortator.kube.resources import PODS
from support.local_nodes import LocalCluster, local_cluster, pod, running


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path) as running_cluster:
        yield running_cluster


def backing_off(obj: dict[str, Any]) -> bool:
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return any((each["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff" for each in statuses)


async def set_image(cluster: LocalCluster, image: str) -> None:
    change = {"spec": {"containers": [{"name": "main", "image": image}]}}
    await cluster.client.patch(PODS, "p", change, namespace="default", kind="strategic")


async def test_an_event_tells_of_the_back_off(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p", "exit 1", restartPolicy="OnFailure"), namespace="default")
    seen = await cluster.until("p", backing_off)
    uid = seen["metadata"]["uid"]
    assert cluster.events.messages("p", "BackOff") == [
        f"Back-off restarting failed container main in pod p_default({uid})"
    ]


async def test_a_program_that_ends_well_is_started_again_with_always(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p", "true", restartPolicy="Always"), namespace="default")
    status = (await cluster.until("p", backing_off))["status"]["containerStatuses"][0]
    assert (status["restartCount"], status["lastState"]["terminated"]["reason"]) == (1, "Completed")


@pytest.mark.parametrize("policy", ["Always", "Never"])
async def test_a_changed_image_starts_a_container_again(cluster: LocalCluster, policy: str) -> None:
    manifest = pod("p", "trap 'exit 0' TERM; while :; do sleep 0.05; done", restartPolicy=policy)
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    await set_image(cluster, "other")
    seen = await cluster.until(
        "p", lambda obj: running(obj) and obj["status"]["containerStatuses"][0]["restartCount"] == 1
    )
    status = seen["status"]["containerStatuses"][0]
    assert (status["image"], "terminated" in status["lastState"]) == ("other", True)
    assert cluster.events.messages("p", "Killing") == ["Container main definition changed, will be restarted"]


async def test_with_a_changed_image_the_back_off_begins_anew(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p", "exit 1", restartPolicy="Always"), namespace="default")
    await cluster.until("p", backing_off)
    await set_image(cluster, "other")
    seen = await cluster.until(
        "p", lambda obj: backing_off(obj) and obj["status"]["containerStatuses"][0]["restartCount"] == 2
    )
    waiting = seen["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"].startswith("back-off 10s restarting")


@pytest.mark.parametrize(
    ("container", "code"),
    [
        ({"restartPolicy": "OnFailure"}, 3),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
                ],
            },
            42,
        ),
    ],
)
async def test_a_container_may_have_a_policy_of_its_own(
    cluster: LocalCluster, tmp_path: Path, container: dict[str, Any], code: int
) -> None:
    script = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; exit {code}; }}"
    done = await cluster.run(pod("p", script, container=container))
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["containerStatuses"][0]["restartCount"] == 1


async def test_a_container_may_stay_ended_in_a_pod_that_restarts_the_others(cluster: LocalCluster) -> None:
    manifest = pod("p", "exit 3", container={"restartPolicy": "Never"}, restartPolicy="Always")
    done = await cluster.run(manifest)
    assert done["status"]["phase"] == "Failed"
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert cluster.events.messages("p", "BackOff") == []


async def test_the_end_of_a_long_termination_message_is_kept(cluster: LocalCluster) -> None:
    script = "yes 0123456 | head -c 8192 > /dev/termination-log; echo last >> /dev/termination-log; exit 1"
    done = await cluster.run(pod("p", script))
    message = done["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    assert len(message) == 4096 and message.endswith("0123456\nlast\n")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("head -c 8192 /dev/zero | tr '\\0' x; echo last; exit 1", "x" * 2043 + "last\n"),
        ("seq 1000; exit 1", "".join(f"{number}\n" for number in range(921, 1001))),
        ("echo fine; exit 0", None),
        ("echo out; echo why > /dev/termination-log; exit 1", "why\n"),
    ],
    ids=["bytes", "lines", "success", "file"],
)
async def test_the_end_of_the_log_stands_in_for_the_message_of_a_failure(
    cluster: LocalCluster, script: str, message: str | None
) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    done = await cluster.run(pod("p", script, container=policy))
    terminated = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert terminated.get("message") == message
