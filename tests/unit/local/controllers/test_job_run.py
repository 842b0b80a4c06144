import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hortator.apimachinery import conditions
from hortator.kube.http import Request, Response
from hortator.kube.resources import JOBS, PODS
from support.small_cluster import SmallCluster, small_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with small_cluster(tmp_path) as made:
        await made.add_node("a", cpu="64")
        yield made


async def some_pods(cluster: SmallCluster, count: int) -> list[dict[str, Any]]:
    """Wait for that many pods that are neither ended nor going."""

    async def there() -> Any:
        pods = [
            one
            for one in await cluster.pods()
            if one["status"].get("phase") not in ("Succeeded", "Failed")
            and "deletionTimestamp" not in one["metadata"]
        ]
        return (pods,) if len(pods) == count else None

    found: list[dict[str, Any]] = (await cluster.until(there, 2000))[0]
    return found


async def until_job(cluster: SmallCluster, kind: str, name: str = "j") -> dict[str, Any]:
    async def there() -> Any:
        job = await cluster.get(JOBS, name)
        return job if job and conditions.is_true((job.get("status") or {}).get("conditions"), kind) else None

    found: dict[str, Any] = await cluster.until(there, 2000)
    return found


async def test_a_job_completes_and_says_so(cluster: SmallCluster) -> None:
    await cluster.add_job("j", completions=3, parallelism=2)
    for pod in await some_pods(cluster, 2):
        await cluster.end_pod(pod)
    await cluster.end_pod((await some_pods(cluster, 1))[0])
    job = await until_job(cluster, "Complete")
    assert job["status"]["succeeded"] == 3
    assert job["status"]["completionTime"]
    assert not any(one["metadata"].get("finalizers") for one in await cluster.pods())
    said = cluster.notes.reasons("j")
    assert said.count("SuccessfulCreate") == 3
    assert said[-1] == "Completed"


async def test_failed_pods_are_replaced_after_the_backoff_until_the_limit(cluster: SmallCluster) -> None:
    await cluster.add_job("j", backoffLimit=1)
    for _ in range(2):
        await cluster.end_pod((await some_pods(cluster, 1))[0], "Failed")
    job = await until_job(cluster, "Failed")
    assert job["status"]["failed"] == 2
    assert cluster.notes.message("BackoffLimitExceeded") == "Job has reached the specified backoff limit"


async def test_indexed_pods_carry_their_index_in_their_name(cluster: SmallCluster) -> None:
    await cluster.add_job("j", completions=2, parallelism=2, completionMode="Indexed")
    pods = await some_pods(cluster, 2)
    assert sorted(one["metadata"]["name"][:4] for one in pods) == ["j-0-", "j-1-"]
    assert sorted(one["spec"]["hostname"] for one in pods) == ["j-0", "j-1"]


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_a_deleted_job_leaves_nothing(cluster: SmallCluster, propagation: Any) -> None:
    await cluster.add_job("j", completions=2, parallelism=2)
    await some_pods(cluster, 2)
    await cluster.client.delete(JOBS, "j", namespace="default", propagation=propagation)
    await cluster.until_gone(JOBS, "j")

    async def empty() -> bool:
        return not await cluster.pods()

    await cluster.until(empty)


async def test_an_orphaned_pod_stays_without_owner_and_finalizer(cluster: SmallCluster) -> None:
    await cluster.add_job("j")
    name = (await some_pods(cluster, 1))[0]["metadata"]["name"]
    await cluster.client.delete(JOBS, "j", namespace="default", propagation="Orphan")
    await cluster.until_gone(JOBS, "j")
    pod = await cluster.get(PODS, name)
    assert "ownerReferences" not in pod["metadata"]


async def test_suspending_a_job_ends_its_pods(cluster: SmallCluster) -> None:
    await cluster.add_job("j", completions=2, parallelism=2)
    await some_pods(cluster, 2)
    await cluster.client.patch(JOBS, "j", {"spec": {"suspend": True}}, namespace="default")
    job = await until_job(cluster, "Suspended")
    await some_pods(cluster, 0)
    assert "startTime" not in job["status"]
    await cluster.client.patch(JOBS, "j", {"spec": {"suspend": False}}, namespace="default")
    await some_pods(cluster, 2)
    assert {"Suspended", "Resumed"} <= set(cluster.notes.reasons("j"))


async def test_the_deadline_ends_a_job(cluster: SmallCluster) -> None:
    await cluster.add_job("j", activeDeadlineSeconds=30)
    await some_pods(cluster, 1)
    job = await until_job(cluster, "Failed")
    assert job["status"]["conditions"][-1]["reason"] == "DeadlineExceeded"


async def test_a_finished_job_goes_when_its_time_is_over(cluster: SmallCluster) -> None:
    await cluster.add_job("j", ttlSecondsAfterFinished=100)
    await cluster.end_pod((await some_pods(cluster, 1))[0])
    await until_job(cluster, "Complete")
    await asyncio.sleep(95)
    assert await cluster.get(JOBS, "j")
    await cluster.until_gone(JOBS, "j")

    async def empty() -> bool:
        return not await cluster.pods()

    await cluster.until(empty)


async def test_a_refused_pod_is_told_and_tried_again(cluster: SmallCluster) -> None:
    refused = []

    def twice(request: Request) -> Response | None:
        if request.method == "POST" and request.path.endswith("/pods") and len(refused) < 2:
            refused.append(request.path)
            body = (
                b'{"kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"over quota"}'
            )
            return Response(403, {"content-type": "application/json"}, body)
        return None

    cluster.intercept = twice
    await cluster.add_job("j", completions=2, parallelism=2)
    await some_pods(cluster, 2)
    assert cluster.notes.message("FailedCreate") == "Error creating: over quota"


async def test_a_failing_job_waits_for_its_last_pod(cluster: SmallCluster) -> None:
    await cluster.add_job("j", completions=2, parallelism=2, backoffLimit=0)
    one, _ = await some_pods(cluster, 2)
    cluster.pods_obey = False
    await cluster.end_pod(one, "Failed")
    job = await until_job(cluster, "FailureTarget")
    assert not conditions.is_true(job["status"]["conditions"], "Failed")
    cluster.pods_obey = True
    job = await until_job(cluster, "Failed")
    assert job["status"]["failed"] == 2


async def test_jobs_of_other_controllers_are_left_alone(cluster: SmallCluster) -> None:
    await cluster.add_job("theirs", managedBy="example.com/mine")
    await cluster.add_job("ours")
    assert (await some_pods(cluster, 1))[0]["metadata"]["name"].startswith("ours-")
