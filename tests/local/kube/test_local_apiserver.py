"""The clients against the local cluster's API server, by each way to reach it."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hortator.kube import errors
from hortator.kube.blocking import BlockingClient
from hortator.kube.client import Client
from hortator.kube.config import load, merge
from hortator.kube.credentials import StaticToken
from hortator.kube.endpoint import Endpoint
from hortator.kube.events import Recorder
from hortator.kube.informer import Informer
from hortator.kube.lease import LeaderElector
from hortator.kube.manager import Controller, Manager
from hortator.kube.resources import CONFIG_MAPS, EVENTS, LEASES, NAMESPACES, PODS, SERVICE_ACCOUNTS
from hortator.kube.transport import InProcess
from hortator.kube.transport_http import HttpTransport
from hortator.local.apiserver import certificates
from hortator.local.apiserver.http_server import HttpServer
from hortator.local.apiserver.server import ApiServer
from hortator.local.streams import STDERR, STDOUT, LogOptions

TOKEN = "owner"
Object = dict[str, Any]


def config_map(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


class Process:
    """A session with `tr a-z A-Z; echo done >&2; exit 3`, or with an echo on a port."""

    def __init__(self) -> None:
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self._input.put_nowait(data)

    async def close_stdin(self) -> None:
        self._input.put_nowait(None)

    async def resize(self, columns: int, rows: int) -> None: ...

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (data := await self._input.get()) is not None:
            yield STDOUT, data.upper()
        yield STDERR, b"done\n"

    async def wait(self) -> int:
        return 3

    async def close(self) -> None:
        self._input.put_nowait(None)


class Node:
    """A node whose containers all run the same."""

    async def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"

    async def exec(
        self, pod: Object, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> Process:
        return Process()

    async def attach(self, pod: Object, container: str, *, stdin: bool, tty: bool) -> Process:
        return Process()

    async def port_forward(self, pod: Object, port: int) -> Process:
        return Process()


@dataclass
class Cluster:
    """A running API server, and its addresses."""

    server: ApiServer
    socket: Endpoint
    tls: Endpoint

    def client(self, way: str) -> Client:
        if way == "in process":
            return Client(InProcess(self.server.handle, token=TOKEN))
        return Client(HttpTransport.to(self.socket if way == "socket" else self.tls))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    certs = certificates.ensure(tmp_path / "tls")
    server = ApiServer(journal=None, owner_token=TOKEN, connector=lambda node: Node(), signing_key=None)
    await server.start()
    socket = tmp_path / "api"
    http = HttpServer(server.handle, socket_path=socket, port=0, tls=certificates.server_context(certs))
    await http.start()
    credentials = StaticToken(TOKEN)
    try:
        yield Cluster(
            server,
            Endpoint(socket_path=str(socket), credentials=credentials),
            Endpoint(f"https://127.0.0.1:{http.port}", ca=certs.ca.read_bytes(), credentials=credentials),
        )
    finally:
        await http.stop()
        await server.stop()


@pytest.fixture(params=["in process", "socket", "tls"])
async def client(request: pytest.FixtureRequest, cluster: Cluster) -> AsyncIterator[Client]:
    client = cluster.client(request.param)
    yield client
    await client.close()


@pytest.fixture(params=["socket", "tls"])
def blocking(request: pytest.FixtureRequest, cluster: Cluster) -> BlockingClient:
    return BlockingClient(cluster.socket if request.param == "socket" else cluster.tls)


@asynccontextmanager
async def running(what: Informer[Any] | Manager) -> AsyncIterator[None]:
    task = asyncio.create_task(what.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


class Changes:
    """What an informer told, to be waited for."""

    def __init__(self, informer: Informer[Object]) -> None:
        self.seen: list[tuple[str, str]] = []
        self._changed = asyncio.Event()
        informer.on_change(self._note)

    def _note(self, kind: str, obj: Object, old: Object | None) -> None:
        self.seen.append((kind, obj["metadata"]["name"]))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def make_pod(client: Client, name: str = "p") -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await client.create(SERVICE_ACCOUNTS, account, namespace="default")
    await client.create(PODS, pod)
    running = {
        "name": "c",
        "ready": True,
        "restartCount": 0,
        "image": "i",
        "imageID": "i",
        "state": {"running": {}},
    }
    status = {"phase": "Running", "containerStatuses": [running]}
    await client.patch(PODS, name, {"status": status}, namespace="default", subresource="status")


async def test_an_object_s_life(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config_map("a", x="1"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(CONFIG_MAPS, config_map("a"))
    patched = await client.patch(CONFIG_MAPS, "a", {"data": {"y": "2"}}, namespace="default")
    assert patched["data"] == {"x": "1", "y": "2"}
    with pytest.raises(errors.Conflict):
        await client.replace(CONFIG_MAPS, made)
    replaced = await client.replace(CONFIG_MAPS, {**patched, "data": {"z": "3"}})
    operations = [{"op": "test", "path": "/data/z", "value": "3"}, {"op": "remove", "path": "/data/z"}]
    changed = await client.patch(CONFIG_MAPS, "a", operations, namespace="default", kind="json")
    assert (replaced["data"], changed.get("data") or {}) == ({"z": "3"}, {})
    uid = made["metadata"]["uid"]
    with pytest.raises(errors.Conflict):
        await client.delete(CONFIG_MAPS, "a", namespace="default", uid="another")
    await client.delete(CONFIG_MAPS, "a", namespace="default", uid=uid)
    with pytest.raises(errors.NotFound):
        await client.get(CONFIG_MAPS, "a", namespace="default")


async def test_apply_and_its_conflicts(client: Client) -> None:
    await client.apply(CONFIG_MAPS, config_map("a", x="1"), field_manager="one")
    with pytest.raises(errors.Conflict, match="one"):
        await client.apply(CONFIG_MAPS, config_map("a", x="2"), field_manager="two")
    forced = await client.apply(CONFIG_MAPS, config_map("a", x="2"), field_manager="two", force=True)
    assert forced["data"] == {"x": "2"}


async def test_bad_objects_are_refused_by_field(client: Client) -> None:
    with pytest.raises(errors.Invalid, match=r"metadata\.name"):
        await client.create(CONFIG_MAPS, config_map("No Name"))
    with pytest.raises(errors.BadRequest, match="unknown field"):
        await client.create(CONFIG_MAPS, {**config_map("a"), "odd": 1}, field_validation="Strict")


async def test_a_stranger_is_refused(cluster: Cluster) -> None:
    with pytest.raises(errors.Unauthorized):
        await Client(InProcess(cluster.server.handle, token="wrong")).list(CONFIG_MAPS)


async def test_pages(client: Client) -> None:
    for number in range(5):
        await client.create(CONFIG_MAPS, config_map(f"m{number}"))
    page = await client.list(CONFIG_MAPS, namespace="default", limit=2)
    assert (len(page.items), page.remaining) == (2, 3)
    rest = await client.list(CONFIG_MAPS, namespace="default", limit=5, continue_=page.continue_)
    assert [item["metadata"]["name"] for item in rest.items] == ["m2", "m3", "m4"]


async def test_an_informer_follows(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map("before"))
    informer = Informer(client, CONFIG_MAPS, namespace="default")
    changes = Changes(informer)
    async with running(informer):
        await informer.synced.wait()
        await client.create(CONFIG_MAPS, config_map("a"))
        informer.record(await client.patch(CONFIG_MAPS, "a", {"data": {"k": "v"}}, namespace="default"))
        found = informer.get("default", "a")
        assert found is not None and found["data"] == {"k": "v"}
        await client.delete(CONFIG_MAPS, "a", namespace="default")
        await changes.until(lambda: ("deleted", "a") in changes.seen)
        assert [obj["metadata"]["name"] for obj in informer] == ["before"]
        assert informer.statistics().failures == 0


async def test_an_informer_survives_a_server_that_goes_away(cluster: Cluster, tmp_path: Path) -> None:
    socket = tmp_path / "second"
    front = HttpServer(cluster.server.handle, socket_path=socket)
    await front.start()
    client = Client(HttpTransport.to(Endpoint(socket_path=str(socket), credentials=StaticToken(TOKEN))))
    informer = Informer(client, CONFIG_MAPS, namespace="default")
    changes = Changes(informer)
    async with running(informer):
        await informer.synced.wait()
        await front.stop()
        await cluster.client("in process").create(CONFIG_MAPS, config_map("meanwhile"))
        front = HttpServer(cluster.server.handle, socket_path=socket)
        await front.start()
        await changes.until(lambda: ("added", "meanwhile") in changes.seen)
        assert informer.statistics().lists == 1
    await client.close()
    await front.stop()


async def test_a_controller_on_the_local_server(client: Client) -> None:
    manager = Manager(client)
    maps = manager.informer(CONFIG_MAPS, namespace="default")
    changes = Changes(maps)

    async def reconcile(key: str) -> None:
        obj = maps.get("default", key)
        if obj is not None and "done" not in obj["data"]:
            patch = {"data": {"done": "yes"}}
            maps.record(await client.patch(CONFIG_MAPS, key, patch, namespace="default"))

    controller = manager.add(Controller("finisher", reconcile))
    maps.on_change(lambda kind, obj, old: controller.enqueue(obj["metadata"]["name"]))
    async with running(manager):
        await asyncio.gather(*(client.create(CONFIG_MAPS, config_map(f"m{n}", x="y")) for n in range(30)))
        await changes.until(lambda: [obj["data"].get("done") for obj in maps] == ["yes"] * 30)
    assert controller.statistics().failed == 0


async def test_events_and_leases_are_accepted(client: Client) -> None:
    obj = await client.create(CONFIG_MAPS, config_map("a"))
    recorder = Recorder(client, "tester")
    for _ in range(3):
        recorder.event(obj, "Normal", "Tested", "it was tested")
    await recorder.flush()
    told = await client.all(EVENTS, fields="involvedObject.name=a")
    assert [(event["count"], event["message"]) for event in told] == [(3, "it was tested")]
    elector = LeaderElector(client, name="lock", namespace="default", identity="me")
    await elector.acquire()
    holding = asyncio.create_task(elector.hold())
    await asyncio.sleep(0)
    holding.cancel()
    await asyncio.wait((holding,))
    lease = await client.get(LEASES, "lock", namespace="default")
    assert lease["spec"].get("holderIdentity") is None


async def test_logs_exec_and_port_forward(client: Client) -> None:
    await make_pod(client)
    chunks = [chunk async for chunk in client.logs("default", "p", container="c")]
    assert b"".join(chunks) == b"one\ntwo\n"
    async with await client.exec("default", "p", ["tr"], container="c", stdin=True) as command:
        await command.send(b"hello")
        await command.close_stdin()
        assert [piece async for piece in command.output()] == [(1, b"HELLO"), (2, b"done\n")]
        assert await command.wait() == 3
    port = await client.port_forward("default", "p", 80)
    await port.send(b"ping")
    assert await port.receive() == b"PING"
    await port.close()


async def test_exec_into_nothing(client: Client) -> None:
    with pytest.raises(errors.NotFound):
        await client.exec("default", "nobody", ["x"])


async def test_the_blocking_client(blocking: BlockingClient, cluster: Cluster) -> None:
    client = cluster.client("in process")
    await make_pod(client)

    def use() -> None:
        with blocking:
            assert "default" in [item["metadata"]["name"] for item in blocking.all(NAMESPACES)]
            made = blocking.create(CONFIG_MAPS, config_map("a", x="1"))
            version = made["metadata"]["resourceVersion"]
            blocking.patch(CONFIG_MAPS, "a", {"data": {"x": "2"}}, namespace="default")
            watch = blocking.watch(CONFIG_MAPS, resource_version=version, timeout_seconds=1)
            assert [event.object["data"] for event in watch if event.type == "MODIFIED"] == [{"x": "2"}]
            with blocking.logs("default", "p", container="c") as log:
                assert b"".join(log) == b"one\ntwo\n"
            with blocking.exec("default", "p", ["tr"], container="c", stdin=True) as command:
                command.send(b"hello")
                command.close_stdin()
                assert list(command.output()) == [(1, b"HELLO"), (2, b"done\n")]
                assert command.wait() == 3
            with pytest.raises(errors.NotFound):
                blocking.exec("default", "nobody", ["x"])

    await asyncio.to_thread(use)


async def test_kubectl_reads_the_kubeconfig_that_we_write(cluster: Cluster, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    path = tmp_path / "kubeconfig"
    authority = base64.b64encode(cluster.tls.ca).decode()
    addition = {
        "clusters": [
            {
                "name": "local",
                "cluster": {"server": cluster.tls.server, "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": "local", "user": {"token": TOKEN}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
    }
    merge(addition, path=str(path), set_current="local")
    await cluster.client("in process").create(CONFIG_MAPS, config_map("a"))
    done = await asyncio.to_thread(
        subprocess.run,
        [kubectl, "--kubeconfig", str(path), "get", "configmap", "a", "-o", "name"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "configmap/a\n", "")
    client = Client(HttpTransport.to(load([str(path)]).cluster().endpoint))
    assert (await client.get(CONFIG_MAPS, "a", namespace="default"))["metadata"]["name"] == "a"
    await client.close()
