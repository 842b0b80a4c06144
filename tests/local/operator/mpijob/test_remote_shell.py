"""The remote shell as mpirun calls it: a process, an API server on a Unix socket, and the rights that a launcher has."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hortator.api import mpijob as api
from hortator.kube import resources
from hortator.kube.client import Client
from hortator.kube.transport import InProcess
from hortator.local.apiserver.http_server import HttpServer
from hortator.local.apiserver.server import ApiServer
from hortator.local.streams import STDERR, STDOUT, NotRunning
from hortator.operator.mpijob import launch, objects
from hortator.operator.mpijob.settings import Settings
from support.builders import mpijob

EXEC = Settings(launch_mode="exec", exec_agent=launch.agent_command())
Object = dict[str, Any]


class Session:
    """A process of this machine in the place of one in a container."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        raise AssertionError("there is no terminal")

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()

        async def read(number: int, stream: asyncio.StreamReader | None) -> None:
            assert stream is not None
            while data := await stream.read(65536):
                await pieces.put((number, data))
            await pieces.put(None)

        streams = ((STDOUT, self._process.stdout), (STDERR, self._process.stderr))
        tasks = [asyncio.create_task(read(number, stream)) for number, stream in streams]
        ends = 0
        while ends < len(tasks):
            piece = await pieces.get()
            if piece is None:
                ends += 1
            else:
                yield piece

    async def wait(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Node:
    """A connector whose containers are this machine; ``HORT_ENTER`` is that of every worker."""

    def __init__(self) -> None:
        self.enter = ""

    async def exec(
        self, pod: Object, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> Session:
        if pod["status"]["phase"] != "Running":
            raise NotRunning(f"container {container} is not running")
        pipe = asyncio.subprocess.PIPE
        return Session(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                env={"PATH": "/usr/bin:/bin", "POD": pod["metadata"]["name"], "HORT_ENTER": self.enter},
            )
        )


class Place:
    """A job's workers, and its launcher's way to them."""

    def __init__(self, client: Client, node: Node, environ: dict[str, str]) -> None:
        self.client = client
        self.node = node
        self.environ = environ

    async def call(self, *arguments: str, stdin: Any = asyncio.subprocess.DEVNULL, **environ: str) -> Any:
        """Start the remote shell."""
        pipe = asyncio.subprocess.PIPE
        script = launch.remote_shell_script(EXEC)
        words = ("/bin/sh", "-c", script, "remote_shell.sh", *arguments)
        env = {**self.environ, **environ}
        return await asyncio.create_subprocess_exec(*words, stdin=stdin, stdout=pipe, stderr=pipe, env=env)

    async def run(
        self, *arguments: str, given: bytes | None = None, **environ: str
    ) -> tuple[int, bytes, bytes]:
        stdin = asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE
        process = await self.call(*arguments, stdin=stdin, **environ)
        out, err = await process.communicate(given)
        return process.returncode, out, err

    async def place(self, name: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "n"},
        }
        await self.client.create(resources.PODS, body, namespace="default", name=name, subresource="binding")

    async def report(self, name: str, phase: str, **state: Any) -> None:
        containers = [
            {"name": "main", "image": "x", "imageID": "", "ready": True, "restartCount": 0, "state": state}
        ]
        status = {"status": {"phase": phase, "containerStatuses": containers}}
        await self.client.patch(resources.PODS, name, status, namespace="default", subresource="status")

    async def up(self, name: str = "pi-worker-0") -> None:
        await self.place(name)
        await self.report(name, "Running", running={"startedAt": "2026-01-01T00:00:00Z"})


HOST = "pi-worker-0.pi.default.svc"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    node = Node()
    server = ApiServer(journal=None, owner_token="owner", connector=lambda _name: node)  # type: ignore[arg-type,return-value]
    await server.start()
    http = HttpServer(server.handle, socket_path=tmp_path / "s")
    await http.start()
    client = Client(InProcess(server.handle, token="owner"))
    obj = mpijob().workers(2).build()
    job = api.default(api.parse(obj))
    default = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "default"},
    }
    await client.create(resources.SERVICE_ACCOUNTS, default)
    await client.create(resources.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    await client.create(resources.SERVICE_ACCOUNTS, objects.service_account(job))
    await client.create(resources.ROLES, objects.role(job))
    await client.create(resources.ROLE_BINDINGS, objects.role_binding(job))
    for index in range(2):
        await client.create(resources.PODS, objects.worker(job, index, EXEC))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    answer = await client.create(
        resources.SERVICE_ACCOUNTS, request, namespace="default", name="pi-launcher", subresource="token"
    )
    (tmp_path / "token").write_text(answer["status"]["token"])
    (tmp_path / "namespace").write_text("default")
    environ = {
        "HORT_API_SOCKET": str(tmp_path / "s"),
        "HORT_SERVICE_ACCOUNT_DIR": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    yield Place(client, node, environ)
    await http.stop()
    await client.close()
    await server.stop()


async def test_streams_and_exit_code_come_back(place: Place) -> None:
    await place.up()
    code, out, err = await place.run(HOST, "echo", "$POD;", "echo oops >&2; exit 3")
    assert (code, out, err) == (3, b"pi-worker-0\n", b"oops\n")


async def test_input_arrives_whole_and_ends(place: Place) -> None:
    await place.up()
    data = bytes(range(256)) * 40_000
    code, out, _ = await place.run("-x", HOST, "sha256sum", given=data)
    assert (code, out.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())


async def test_the_workers_prefix_is_put_before_the_command(place: Place) -> None:
    await place.up()
    place.node.enter = "env -u PREFIXED PREFIXED=yes"
    assert (await place.run(HOST, "echo $PREFIXED"))[:2] == (0, b"yes\n")


async def test_a_worker_that_is_not_placed_is_waited_for(place: Place) -> None:
    process = await place.call(HOST, "echo here", HORT_CONNECT_TIMEOUT="0.01")
    assert b"waiting for worker pi-worker-0" in await process.stderr.readline()
    await place.place("pi-worker-0")
    await place.report("pi-worker-0", "Running", running={"startedAt": "2026-01-01T00:00:00Z"})
    assert await process.stdout.read() == b"here\n"
    assert await process.wait() == 0


async def test_a_worker_that_is_deleted_is_not_waited_for(place: Place) -> None:
    process = await place.call(HOST, "echo here")
    assert b"waiting for worker pi-worker-0" in await process.stderr.readline()
    await place.client.delete(resources.PODS, "pi-worker-0", namespace="default")
    assert b"worker pi-worker-0 cannot be reached: it was deleted" in await process.stderr.read()
    assert await process.wait() == 255


async def test_a_worker_that_does_not_start_is_named_in_the_end(place: Place) -> None:
    await place.place("pi-worker-0")
    await place.report(
        "pi-worker-0", "Pending", waiting={"reason": "CreateContainerError", "message": "no such file"}
    )
    code, _, err = await place.run(HOST, "echo here", HORT_CONNECT_TIMEOUT="1")
    assert code == 255
    assert b"worker pi-worker-0 did not start within 1 seconds: CreateContainerError: no such file" in err


async def test_a_worker_that_has_ended_is_given_up_at_once(place: Place) -> None:
    await place.place("pi-worker-1")
    ended = {"exitCode": 1, "reason": "Error", "startedAt": None, "finishedAt": None}
    await place.report("pi-worker-1", "Failed", terminated=ended)
    code, _, err = await place.run("pi-worker-1", "true")
    assert code == 255
    assert b"worker pi-worker-1 cannot be reached: it has failed" in err


async def test_a_pod_of_another_job_is_out_of_reach(place: Place) -> None:
    other = api.default(api.parse(mpijob("other").workers(1).build()))
    await place.client.create(resources.PODS, objects.worker(other, 0, EXEC))
    await place.up("other-worker-0")
    code, out, err = await place.run("other-worker-0", "echo here")
    assert (code, out) == (255, b"")
    assert b"forbidden" in err


async def test_without_an_api_server_it_says_so(place: Place, tmp_path: Path) -> None:
    code, _, err = await place.run(HOST, "true", HORT_API_SOCKET=str(tmp_path / "none"))
    assert code == 255
    assert b"worker pi-worker-0 cannot be reached" in err


async def test_the_launchers_own_name_is_here(place: Place) -> None:
    assert (await place.run("pi-launcher.pi.default.svc", "echo here", HOSTNAME="pi-launcher"))[:2] == (
        0,
        b"here\n",
    )
