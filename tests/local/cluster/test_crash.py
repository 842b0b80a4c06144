"""The cluster's process is killed: no process of a job is left, and the next start knows all that was said before."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import threading
import uuid
from collections.abc import Callable

import pytest

from hortator.kube.blocking import BlockingClient
from hortator.kube.credentials import StaticToken
from hortator.kube.endpoint import Endpoint
from hortator.kube.errors import ApiError, Expired, KubeError
from hortator.kube.resources import CONFIG_MAPS, PODS
from support.hort import Hort
from support.staying import Staying, processes, until

Maker = Callable[..., Hort]

ROUNDS = 20


def client_of(hort: Hort) -> BlockingClient:
    """Return a client of the running cluster, as a program of the user's would have it."""
    folder = hort.home / "data"
    state = json.loads((folder / "cluster.json").read_text())
    token = StaticToken((folder / "token").read_text().strip())
    return BlockingClient(Endpoint(socket_path=state["socket"], credentials=token))


def kill(hort: Hort) -> None:
    """Kill the cluster's process and wait until it has gone."""
    descriptor = os.pidfd_open(json.loads((hort.home / "data" / "cluster.json").read_text())["pid"])
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert select.select([descriptor], [], [], 60)[0], "the process cannot be killed"
    finally:
        os.close(descriptor)


def test_a_cluster_that_was_killed_leaves_no_process_and_tells_what_became_of_its_jobs(
    new_hort: Maker,
) -> None:
    hort = new_hort()
    mark = f"mark-{uuid.uuid4()}"
    hort("up", "-d", "--cpus", "4")
    hort("run", "--name", "earlier", "--", "sh", "-c", "echo kept; exit 0")
    with client_of(hort) as client:
        version = client.list(PODS, namespace="default").resource_version
    script = f"setsid sleep 600 & : {mark}; exec sleep 601"
    with Staying(
        hort, "run", "-n", "4", "--workers", "2", "--name", "struck", "--", "sh", "-c", script
    ) as run:
        until(
            lambda: sum(line.startswith("sleep 60") for line in processes(str(hort.home)).values()) >= 8,
            "ranks",
        )
        kill(hort)
        assert run.end() == 125
        assert b"hort up -d" in run.stderr and b"Traceback" not in run.stderr, bytes(run.stderr)
    until(lambda: not processes(str(hort.home)), "the end of all that the cluster had started")
    assert hort("status", code=3).stdout == b"the local cluster is not running\n"

    hort("up", "-d", "--cpus", "4")
    jobs = {job["name"]: job for job in hort.json("jobs")}
    assert set(jobs) == {"earlier-1", "struck-1"} and jobs["earlier-1"]["state"] == "CD"
    assert hort("logs", "earlier-1").stdout == b"kept\n"
    until(lambda: hort.json("show", "struck-1")["state"] == "F", "what became of the job")
    told = hort.json("show", "struck-1")
    assert "cluster" in told["message"] and "stopped" in told["message"], told
    assert hort("wait", "struck-1", code=None).returncode not in (0, None)
    assert b"struck-1" in hort("show", "struck-1").stdout

    with client_of(hort) as client:
        watch = client.watch(PODS, namespace="default", resource_version=version)
        with contextlib.closing(watch), pytest.raises(Expired):
            next(watch)
    done = hort("run", "-n", "2", "--name", "after", "--", "true")
    assert b"after-1" in done.stderr


class Writer(threading.Thread):
    """Creates, changes and deletes objects of its own until the server has gone; keeps what it was told."""

    def __init__(self, client: BlockingClient, name: str, limit: threading.Semaphore) -> None:
        super().__init__()
        self._client = client
        self._name = name
        self._limit = limit
        #: Name -> version that was acknowledged; None: its deletion was. What was asked for last may be either way.
        self.known: dict[str, str | None] = {}
        self.unsure = ""

    def run(self) -> None:
        for number in range(100_000):
            name = f"{self._name}-{number}"
            try:
                self._write(name, number)
            except KubeError as error:
                assert not isinstance(error, ApiError), error
                return

    def _write(self, name: str, number: int) -> None:
        self.unsure = name
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
        self._acknowledged(name, self._client.create(CONFIG_MAPS, made))
        if number % 2:
            patch = {"data": {"number": str(number)}}
            self._acknowledged(name, self._client.patch(CONFIG_MAPS, name, patch, namespace="default"))
        if number % 5 == 4:
            self._client.delete(CONFIG_MAPS, name, namespace="default")
            self._acknowledged(name, None)

    def _acknowledged(self, name: str, obj: dict[str, object] | None) -> None:
        metadata = obj["metadata"] if obj is not None else None
        assert metadata is None or isinstance(metadata, dict)
        self.known[name] = metadata["resourceVersion"] if metadata is not None else None
        self._limit.release()


def test_killed_among_writes_it_loses_nothing_that_was_acknowledged(new_hort: Maker) -> None:
    hort = new_hort()
    known: dict[str, str | None] = {}
    newest = 0
    for number in range(ROUNDS):
        hort("up", "-d")
        limit = threading.Semaphore(0)
        client = client_of(hort)
        writers = [Writer(client, f"r{number}-w{index}", limit) for index in range(4)]
        for writer in writers:
            writer.start()
        for _ in range(random.Random(number).randrange(5, 50)):
            assert limit.acquire(timeout=60), hort.log()
        kill(hort)
        for writer in writers:
            writer.join(60)
            known |= {name: version for name, version in writer.known.items() if name != writer.unsure}
            last = writer.known.get(writer.unsure)
            newest = max(newest, int(last or 0), *(int(version or 0) for version in writer.known.values()))
        client.close()
    hort("up", "-d")
    with client_of(hort) as client:
        listed = client.all(CONFIG_MAPS, namespace="default")
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}}
        fresh = int(client.create(CONFIG_MAPS, made)["metadata"]["resourceVersion"])
    stored = {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in listed}
    lost = {name: version for name, version in known.items() if stored.get(name) != version}
    assert len(known) > 2 * ROUNDS and not lost
    assert fresh > newest  # versions never start again
