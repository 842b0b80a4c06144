from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hortator.kube.client import Client
from hortator.kube.http import Request, Response
from hortator.kube.lease import LeaderElector
from hortator.kube.transport import InProcess
from support.fake_server import failure, reply
from support.virtual_time import now

COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/system/leases"


class LeaseServer:
    """An API server with room for one Lease."""

    def __init__(self, lease: dict[str, Any] | None = None) -> None:
        self.lease = lease
        self.version = 1
        self.broken = False
        self.log: list[str] = []

    async def __call__(self, request: Request) -> Response:
        self.log.append(request.method)
        if self.broken:
            return failure(500, "InternalError")
        if request.method == "POST":
            if self.lease is not None:
                return failure(409, "AlreadyExists")
            return self._store(json.loads(request.body))
        if self.lease is None:
            return failure(404, "NotFound")
        if request.method == "PUT":
            sent = json.loads(request.body)
            if sent["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                return failure(409, "Conflict")
            return self._store(sent)
        return reply(self.lease)

    def _store(self, lease: dict[str, Any]) -> Response:
        self.version += 1
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        return reply(self.lease)

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        spec: dict[str, Any] = self.lease["spec"]
        return spec

    def put(self, **spec: Any) -> None:
        """Write the lease as somebody else."""
        self._store({"metadata": {"name": "lock", "namespace": "system"}, "spec": spec})


def elector(server: LeaseServer, identity: str) -> LeaderElector:
    return LeaderElector(
        Client(InProcess(server)),
        name="lock",
        namespace="system",
        identity=identity,
        now=now,
        rng=lambda: 0.5,
    )


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_candidate_makes_the_lease() -> None:
    server = LeaseServer()
    candidate = elector(server, "a")
    await candidate.acquire()
    assert server.spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2030-01-01T00:00:00.000000Z",
        "renewTime": "2030-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    assert candidate.is_leader


async def test_a_leader_renews_and_keeps_the_time_of_its_coming() -> None:
    server = LeaseServer()
    candidate = elector(server, "a")
    await candidate.acquire()
    task = asyncio.create_task(candidate.hold())
    await asyncio.sleep(60.5)
    assert server.spec["renewTime"] == "2030-01-01T00:01:00.000000Z"
    assert server.spec["acquireTime"] == "2030-01-01T00:00:00.000000Z"
    assert set(server.log[2:]) == {"PUT"}
    task.cancel()
    await asyncio.wait((task,))


async def test_leaving_gives_the_lease_back_and_the_next_takes_it_soon() -> None:
    server = LeaseServer()
    first, second = elector(server, "a"), elector(server, "b")
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(30)
    assert not waiting.done()
    holding.cancel()
    await asyncio.wait((holding,))
    assert "holderIdentity" not in server.spec
    left = clock()
    await waiting
    assert clock() - left < 5
    assert (server.spec["holderIdentity"], server.spec["leaseTransitions"]) == ("b", 1)


@pytest.mark.parametrize("renewed", ["1999-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"])
async def test_whatever_the_holder_s_clock_says_its_lease_runs_as_watched_from_here(renewed: str) -> None:
    server = LeaseServer()
    server.put(holderIdentity="dead", leaseDurationSeconds=15, renewTime=renewed)
    await elector(server, "b").acquire()
    assert 15 <= clock() < 20


async def test_a_holder_that_lives_is_never_replaced() -> None:
    server = LeaseServer()
    server.put(holderIdentity="a", leaseDurationSeconds=15, renewTime="1")
    waiting = asyncio.create_task(elector(server, "b").acquire())
    for beat in range(60):
        server.put(holderIdentity="a", leaseDurationSeconds=15, renewTime=str(beat))
        await asyncio.sleep(10)
    assert not waiting.done()
    waiting.cancel()


async def test_a_leader_that_cannot_renew_gives_up_before_its_lease_ends() -> None:
    server = LeaseServer()
    candidate = elector(server, "a")
    await candidate.acquire()
    server.broken = True
    await candidate.hold()
    assert 10 <= clock() < 15
    assert server.spec["holderIdentity"] == "a"


async def test_a_short_failure_costs_nothing() -> None:
    server = LeaseServer()
    candidate = elector(server, "a")
    await candidate.acquire()
    task = asyncio.create_task(candidate.hold())
    server.broken = True
    await asyncio.sleep(7)
    server.broken = False
    await asyncio.sleep(60)
    assert not task.done() and candidate.is_leader
    task.cancel()
    await asyncio.wait((task,))


async def test_a_leader_that_was_replaced_stops() -> None:
    server = LeaseServer()
    candidate = elector(server, "a")
    await candidate.acquire()
    server.put(holderIdentity="b", leaseDurationSeconds=15, renewTime="x")
    await candidate.hold()
    assert clock() < 5
    assert (candidate.leader, server.spec["holderIdentity"]) == ("b", "b")


async def test_of_two_at_once_one_leads() -> None:
    server = LeaseServer()
    candidates = [elector(server, name) for name in "ab"]
    tasks = [asyncio.create_task(candidate.acquire()) for candidate in candidates]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(1)
    assert [task.done() for task in tasks].count(True) == 1
    for task in tasks:
        task.cancel()


async def test_a_deleted_lease_is_made_again() -> None:
    server = LeaseServer()
    candidate = elector(server, "a")
    await candidate.acquire()
    task = asyncio.create_task(candidate.hold())
    server.lease = None
    await asyncio.sleep(3)
    assert server.spec["holderIdentity"] == "a"
    task.cancel()
    await asyncio.wait((task,))


@pytest.mark.parametrize(("lease", "deadline", "retry"), [(10, 10, 2), (15, 2, 2), (15, 10, 0), (15, 2.4, 2)])
def test_times_that_would_let_two_lead_are_refused(lease: float, deadline: float, retry: float) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        LeaderElector(
            Client(InProcess(LeaseServer())),
            name="lock",
            namespace="system",
            identity="a",
            lease_duration=lease,
            renew_deadline=deadline,
            retry_period=retry,
        )
