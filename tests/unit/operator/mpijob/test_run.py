"""The operator on a Kubernetes API in the same process; nodes and the Job controller are played by the tests."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from hortator.api.mpijob_crd import crd
from hortator.kube import resources
from hortator.kube.client import Client
from hortator.kube.http import Request, Response
from hortator.kube.manager import Manager
from hortator.kube.resources import Resource
from hortator.kube.transport import InProcess
from hortator.local.apiserver.server import ApiServer
from hortator.operator.mpijob.caches import MPIJOBS
from hortator.operator.mpijob.run import build_mpijob
from hortator.operator.mpijob.settings import LaunchMode, Settings
from support.builders import MPIJobBuilder, mpijob

Object = dict[str, Any]


class Events:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self._news = asyncio.Event()

    def event(self, obj: Object, type: str, reason: str, message: str) -> None:
        assert obj["kind"] == "MPIJob"
        self.seen.append((type, reason, message))
        self._news.set()

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.seen]

    async def wait_for(self, reason: str) -> str:
        while True:
            for _, each, message in self.seen:
                if each == reason:
                    return message
            self._news.clear()
            await self._news.wait()


class Cluster:
    def __init__(self) -> None:
        self.server = ApiServer(journal=None, owner_token="secret", connector=lambda _node: None)
        #: Writes that were made, as "POST pods/pi-worker-0"; those of the test itself are not among them.
        self.writes: list[str] = []
        #: Cleared: the operator's watch of MPIJobs stands still.
        self.news_of_jobs = asyncio.Event()
        self.news_of_jobs.set()
        self.intercept: Callable[[Request], Response | None] = lambda _request: None
        self.user = Client(InProcess(self.server.handle, token="secret"))
        self.operator = Client(InProcess(self._handle, token="secret"))
        self.events = Events()
        self._task: asyncio.Task[None] | None = None

    async def _handle(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            self.writes.append(f"{request.method} {request.path.partition('/namespaces/default/')[2]}")
        response = self.intercept(request) or await self.server.handle(request)
        if request.path.endswith("/mpijobs") and response.stream is not None:
            response.stream = self._held(response.stream)
        return response

    async def _held(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in stream:
            await self.news_of_jobs.wait()
            yield chunk

    async def start(self, mode: LaunchMode = "exec") -> None:
        manager = Manager(self.operator)
        build_mpijob(manager, recorder=self.events, settings=Settings(launch_mode=mode, exec_agent="agent"))  # type: ignore[arg-type]
        self._task = asyncio.create_task(manager.run())
        await manager.started.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def submit(self, builder: MPIJobBuilder) -> Object:
        obj = builder.build()
        obj["metadata"] = {key: obj["metadata"][key] for key in ("name", "namespace")}
        return await self.user.create(MPIJOBS, obj)

    async def edit(self, resource: Resource, name: str, patch: Object, subresource: str = "") -> Object:
        return await self.user.patch(resource, name, patch, namespace="default", subresource=subresource)

    async def get(self, resource: Resource, name: str) -> Object:
        found: Object = await self.user.get(resource, name, namespace="default")
        return found

    async def names(self, resource: Resource) -> list[str]:
        found = await self.user.list(resource, namespace="default")
        return sorted(item["metadata"]["name"] for item in found.items)

    async def until(self, resource: Resource, name: str, holds: Callable[[Object], Any]) -> Object:
        """Wait for an object to be so; return it."""
        async with aclosing(self._states(resource, name)) as states:
            async for obj in states:
                if obj is not None and holds(obj):
                    return obj
        raise AssertionError("the watch ended")

    async def until_gone(self, resource: Resource, name: str) -> None:
        """Wait for an object to be deleted, or to be on its way out."""
        async with aclosing(self._states(resource, name)) as states:
            async for obj in states:
                if obj is None or obj["metadata"].get("deletionTimestamp"):
                    return

    async def _states(self, resource: Resource, name: str) -> AsyncGenerator[Object | None, None]:
        fields = f"metadata.name={name}"
        page = await self.user.list(resource, namespace="default", fields=fields)
        yield page.items[0] if page.items else None
        events = self.user.watch(
            resource, namespace="default", fields=fields, resource_version=page.resource_version
        )
        async for event in events:
            if event.type != "BOOKMARK":
                yield None if event.type == "DELETED" else event.object

    async def until_status(self, holds: Callable[[Object], Any], name: str = "pi") -> Object:
        job = await self.until(MPIJOBS, name, lambda obj: "status" in obj and holds(obj["status"]))
        status: Object = job["status"]
        return status

    async def run_pods(self, *names: str, phase: str = "Running", ready: bool = True) -> None:
        """Play the nodes."""
        for name in names:
            listed = [{"type": "Ready", "status": "True" if ready else "False"}]
            await self.edit(
                resources.PODS, name, {"status": {"phase": phase, "conditions": listed}}, "status"
            )

    async def launch(self, name: str = "pi-launcher", phase: str = "Running") -> None:
        """Play the Job controller and its node: one pod."""
        job = await self.get(resources.JOBS, name)
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "controller": True,
            "name": name,
            "uid": job["metadata"]["uid"],
        }
        template = job["spec"]["template"]
        metadata = {
            "name": f"{name}-0",
            "namespace": "default",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner],
        }
        # Its account's token is not this test's matter.
        spec = {**template["spec"], "serviceAccountName": "default", "automountServiceAccountToken": False}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self.user.create(resources.PODS, pod)
        await self.run_pods(f"{name}-0", phase=phase)

    async def end(self, kind: str = "Complete", name: str = "pi-launcher", **status: Any) -> None:
        """Play the Job controller at the end."""
        now = "2026-01-01T00:00:00Z"
        before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[kind]
        listed = [{"type": each, "status": "True", "lastTransitionTime": now} for each in (before, kind)]
        ended = {"startTime": now, "conditions": listed, **status}
        if kind == "Complete":
            ended["completionTime"] = now
        await self.edit(resources.JOBS, name, {"status": ended}, "status")


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    await made.server.start()
    await made.user.create(resources.CRDS, crd())
    # Pods without it would be refused: no controller makes it here.
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "default"},
    }
    await made.user.create(resources.SERVICE_ACCOUNTS, account)
    yield made
    await made.stop()
    await made.server.stop()


def _is(status: Object, kind: str, value: str = "True") -> bool:
    return any((each["type"], each["status"]) == (kind, value) for each in status.get("conditions", ()))


WORKERS = ["pi-worker-0", "pi-worker-1"]


async def test_a_job_from_creation_to_success(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(2).slots(2).policy(cleanPodPolicy="Running"))
    status = await cluster.until_status(lambda status: _is(status, "Created"))
    # The status comes after the objects.
    assert status["replicaStatuses"] == {"Launcher": {}, "Worker": {}}
    assert await cluster.names(resources.PODS) == WORKERS
    assert await cluster.names(resources.JOBS) == ["pi-launcher"]
    assert "pi-launcher" in await cluster.names(resources.SERVICE_ACCOUNTS)
    await cluster.run_pods(*WORKERS)
    await cluster.launch()
    status = await cluster.until_status(lambda status: _is(status, "Running"))
    assert status["replicaStatuses"] == {"Launcher": {"active": 1}, "Worker": {"active": 2}}
    await cluster.run_pods("pi-launcher-0", phase="Succeeded")
    await cluster.end(succeeded=1)
    status = await cluster.until_status(lambda status: _is(status, "Succeeded"))
    assert status["replicaStatuses"] == {"Launcher": {"succeeded": 1}, "Worker": {}}
    assert cluster.events.reasons == ["MPIJobCreated", "MPIJobRunning", "MPIJobSucceeded"]
    for worker in WORKERS:
        await cluster.until_gone(resources.PODS, worker)
    # Everything else goes with the job itself.
    assert await cluster.names(resources.JOBS) == ["pi-launcher"]
    assert await cluster.names(resources.SERVICES) == ["pi"]


async def test_at_rest_nothing_is_written(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(2))
    await cluster.until_status(lambda status: _is(status, "Created"))
    await cluster.run_pods(*WORKERS)
    await cluster.launch()
    await cluster.until_status(lambda status: _is(status, "Running"))
    await cluster.until(
        resources.CONFIG_MAPS, "pi-config", lambda obj: "worker-1" in obj["data"]["discover_hosts.sh"]
    )
    before = list(cluster.writes)
    for round_ in range(3):
        await cluster.edit(resources.PODS, "pi-worker-0", {"metadata": {"labels": {"round": str(round_)}}})
    # Whatever the operator did about that, it has done once it has answered this.
    await cluster.edit(MPIJOBS, "pi", {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 3}}}})
    await cluster.until(resources.PODS, "pi-worker-2", lambda _: True)
    assert not any("pi-worker-0" in write or "status" in write for write in cluster.writes[len(before) :])


@pytest.mark.parametrize("mode", ["ssh", "exec"])
@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (resources.SERVICES, "pi"),
        (resources.CONFIG_MAPS, "pi-config"),
        (resources.PODS, "pi-worker-1"),
        (resources.JOBS, "pi-launcher"),
        (resources.SECRETS, "pi-ssh"),
        (resources.ROLES, "pi-launcher"),
    ],
)
async def test_what_is_somebody_elses_is_not_taken_over(
    cluster: Cluster, resource: Resource, name: str, mode: LaunchMode
) -> None:
    if (resource is resources.SECRETS) != (mode == "ssh") and resource in (
        resources.SECRETS,
        resources.ROLES,
    ):
        pytest.skip("not made in this mode")
    foreign = _foreign(resource, name)
    before = await cluster.user.create(resource, foreign)
    await cluster.start(mode)
    await cluster.submit(mpijob().workers(2))
    message = await cluster.events.wait_for("ErrResourceExists")
    assert message.startswith(f"Resource '{name}' of Kind '{resource.kind}' already exists")
    assert await cluster.get(resource, name) == before


def _foreign(resource: Resource, name: str) -> Object:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    body: dict[str, Object] = {
        "Service": {"spec": {"clusterIP": "None"}},
        "ConfigMap": {},
        "Pod": template,
        "Job": {"spec": {"template": template}},
        "Secret": {},
        "Role": {"rules": []},
    }
    meta = {"name": name, "namespace": "default"}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": meta,
        **body[resource.kind],
    }


async def test_an_own_object_that_the_cache_does_not_show_is_no_problem(cluster: Cluster) -> None:
    job = await cluster.submit(mpijob().workers(1))
    owner = {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "name": "pi",
        "uid": job["metadata"]["uid"],
    }
    service = _foreign(resources.SERVICES, "pi")
    service["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    await cluster.user.create(resources.SERVICES, service)
    await cluster.start()
    await cluster.until_status(lambda status: _is(status, "Created"))
    assert cluster.events.reasons == ["MPIJobCreated"]


async def test_the_remains_of_an_earlier_job_are_waited_for_quietly(cluster: Cluster) -> None:
    service = _foreign(resources.SERVICES, "pi")
    owner = {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "name": "pi",
        "uid": "another",
        "controller": True,
    }
    service["metadata"] |= {
        "ownerReferences": [owner],
        "labels": {
            "training.kubeflow.org/operator-name": "mpi-operator",
            "training.kubeflow.org/job-name": "pi",
        },
    }
    await cluster.user.create(resources.SERVICES, service)
    await cluster.start()
    await cluster.submit(mpijob())
    await cluster.until(resources.CONFIG_MAPS, "pi-config", lambda _: True)
    await cluster.user.delete(resources.SERVICES, "pi", namespace="default")
    await cluster.until_status(lambda status: _is(status, "Created"))
    assert cluster.events.reasons == ["MPIJobCreated"]


async def test_a_template_that_is_refused_ends_the_job_and_says_why(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(2).launcher("x", resources={"limits": {"cpu": "-1"}}))
    status = await cluster.until_status(lambda status: _is(status, "Failed"))
    failed = status["conditions"][-1]
    assert failed["reason"] == "InvalidSpec"
    assert "Job pi-launcher" in failed["message"]
    assert "limits" in failed["message"]
    assert status["completionTime"]
    for worker in WORKERS:
        await cluster.until_gone(resources.PODS, worker)
    assert sum(write == "POST jobs" for write in cluster.writes) == 1


async def test_a_job_of_another_manager_is_left_alone(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob("theirs").workers(1).policy(managedBy="kueue.x-k8s.io/multikueue"))
    await cluster.submit(mpijob("ours"))
    await cluster.until_status(lambda status: _is(status, "Created"), "ours")
    assert "status" not in await cluster.get(MPIJOBS, "theirs")
    assert await cluster.names(resources.SERVICES) == ["ours"]


async def test_an_invalid_job_gets_an_event_and_nothing_else(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob("1-foo"))
    message = await cluster.events.wait_for("ValidationError")
    assert "metadata.name" in message
    assert cluster.writes == []


async def test_suspending_and_resuming_twice(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(2).suspended())
    status = await cluster.until_status(lambda status: _is(status, "Suspended"))
    assert "startTime" not in status
    assert await cluster.names(resources.PODS) == []
    for round_ in range(2):
        await cluster.edit(
            MPIJOBS,
            "pi",
            {
                "spec": {
                    "runPolicy": {"suspend": False},
                    "mpiReplicaSpecs": {
                        "Launcher": {"template": {"spec": {"nodeSelector": {"round": str(round_)}}}}
                    },
                }
            },
        )
        await cluster.until_status(lambda status: _is(status, "Suspended", "False"))
        job = await cluster.get(resources.JOBS, "pi-launcher")
        assert job["spec"]["suspend"] is False
        assert job["spec"]["template"]["spec"]["nodeSelector"] == {"round": str(round_)}
        assert await cluster.names(resources.PODS) == WORKERS
        # As the Job controller reports a Job that has started.
        await cluster.edit(
            resources.JOBS, "pi-launcher", {"status": {"startTime": "2026-01-01T00:00:00Z"}}, "status"
        )
        await cluster.edit(MPIJOBS, "pi", {"spec": {"runPolicy": {"suspend": True}}})
        await cluster.until_status(lambda status: _is(status, "Suspended"))
        assert (await cluster.get(resources.JOBS, "pi-launcher"))["spec"]["suspend"] is True
        for worker in WORKERS:
            await cluster.until_gone(resources.PODS, worker)
    assert cluster.events.reasons == [
        "MPIJobCreated",
        "MPIJobSuspended",
        *["MPIJobResumed", "MPIJobSuspended"] * 2,
    ]


async def test_the_start_gate_holds_until_workers_are_ready(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(2).waiting().suspended())
    await cluster.until_status(lambda status: _is(status, "Suspended"))
    assert await cluster.names(resources.JOBS) == []
    await cluster.edit(MPIJOBS, "pi", {"spec": {"runPolicy": {"suspend": False}}})
    status = await cluster.until_status(lambda status: _is(status, "Suspended", "False"))
    assert status["replicaStatuses"] == {"Worker": {}}
    await cluster.run_pods(*WORKERS, ready=False)
    await cluster.until_status(lambda status: status["replicaStatuses"]["Worker"] == {"active": 2})
    assert await cluster.names(resources.JOBS) == []
    await cluster.run_pods(*WORKERS)
    await cluster.until(resources.JOBS, "pi-launcher", lambda _: True)


async def test_workers_of_a_deleted_job_do_not_come_back(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(1))
    await cluster.until_status(lambda status: _is(status, "Created"))
    looked = asyncio.Event()

    def intercept(request: Request) -> Response | None:
        if request.method == "GET" and request.path.endswith("/mpijobs/pi"):
            looked.set()
        return None

    cluster.intercept = intercept
    # The operator hears of its pods sooner than of its jobs.
    cluster.news_of_jobs.clear()
    await cluster.user.delete(MPIJOBS, "pi", namespace="default", propagation="Orphan")
    await cluster.user.delete(resources.PODS, "pi-worker-0", namespace="default", grace_seconds=0)
    await looked.wait()
    cluster.news_of_jobs.set()
    await cluster.submit(mpijob("next"))
    await cluster.until_status(lambda status: _is(status, "Created"), "next")
    assert cluster.writes.count("POST pods") == 1
    assert await cluster.names(resources.PODS) == []


async def test_workers_of_a_job_are_created_together(cluster: Cluster) -> None:
    # Otherwise each of two jobs could get one half of the machine, and wait for the other half for ever.
    await cluster.start()
    jobs = ["a", "b", "c", "d"]
    await asyncio.gather(*(cluster.submit(mpijob(name).workers(3)) for name in jobs))
    for name in jobs:
        await cluster.until_status(lambda status: _is(status, "Created"), name)
    pods = (await cluster.user.list(resources.PODS, namespace="default")).items
    pods.sort(key=lambda pod: int(pod["metadata"]["resourceVersion"]))
    owners = [pod["metadata"]["labels"]["training.kubeflow.org/job-name"] for pod in pods]
    assert len(owners) == 12
    assert len([name for name, _ in itertools.groupby(owners)]) == len(jobs)


async def test_scaling_by_the_scale_subresource(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(1))
    await cluster.until_status(lambda status: _is(status, "Created"))
    await cluster.edit(MPIJOBS, "pi", {"spec": {"replicas": 3}}, "scale")
    await cluster.until(resources.PODS, "pi-worker-2", lambda _: True)
    role = await cluster.until(resources.ROLES, "pi-launcher", lambda obj: "pi-worker-2" in str(obj))
    assert len(role["rules"][0]["resourceNames"]) == 3


async def test_ssh_keys_are_made_once(cluster: Cluster) -> None:
    await cluster.start("ssh")
    await cluster.submit(mpijob().workers(1))
    await cluster.until_status(lambda status: _is(status, "Created"))
    secret = await cluster.get(resources.SECRETS, "pi-ssh")
    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    assert secret["type"] == "kubernetes.io/ssh-auth"
    assert data["ssh-privatekey"].startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert data["ssh-publickey"].startswith(b"ecdsa-sha2-nistp521 ")
    await cluster.edit(MPIJOBS, "pi", {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 2}}}})
    await cluster.until(resources.PODS, "pi-worker-1", lambda _: True)
    assert await cluster.get(resources.SECRETS, "pi-ssh") == secret


async def test_a_quota_is_announced_and_tried_again(cluster: Cluster) -> None:
    refused = 2

    def intercept(request: Request) -> Response | None:
        nonlocal refused
        if request.method == "POST" and request.path.endswith("/pods") and refused:
            refused -= 1
            body = b'{"kind":"Status","status":"Failure","reason":"Forbidden","message":"exceeded quota","code":403}'
            return Response(403, {"content-type": "application/json"}, body)
        return None

    cluster.intercept = intercept
    await cluster.start()
    await cluster.submit(mpijob().workers(1))
    assert await cluster.events.wait_for("MPIJobFailed") == "exceeded quota"
    status = await cluster.until_status(lambda status: _is(status, "Created"))
    assert not _is(status, "Failed")
    assert await cluster.names(resources.PODS) == ["pi-worker-0"]


async def test_the_time_to_live_is_put_on_the_job_after_its_end_is_known(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().policy(ttlSecondsAfterFinished=7))
    await cluster.until_status(lambda status: _is(status, "Created"))
    assert "ttlSecondsAfterFinished" not in (await cluster.get(resources.JOBS, "pi-launcher"))["spec"]
    await cluster.end()
    await cluster.until(
        resources.JOBS, "pi-launcher", lambda obj: obj["spec"].get("ttlSecondsAfterFinished") == 7
    )
    assert _is((await cluster.get(MPIJOBS, "pi"))["status"], "Succeeded")
    await cluster.user.delete(resources.JOBS, "pi-launcher", namespace="default", propagation="Background")
    await cluster.submit(mpijob("next"))
    await cluster.until_status(lambda status: _is(status, "Created"), "next")
    assert await cluster.names(resources.JOBS) == ["next-launcher"]


async def test_support_objects_that_someone_deletes_come_back(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.submit(mpijob().workers(1))
    await cluster.until_status(lambda status: _is(status, "Created"))
    for resource, name in ((resources.SERVICES, "pi"), (resources.ROLES, "pi-launcher")):
        before = await cluster.get(resource, name)
        await cluster.user.delete(resource, name, namespace="default")
        after = await cluster.until(
            resource, name, lambda obj, uid=before["metadata"]["uid"]: obj["metadata"]["uid"] != uid
        )
        assert after["metadata"]["labels"] == before["metadata"]["labels"]
