"""The local API server beside Kubernetes' own (kube-apiserver and etcd): ``python -m bench.apiserver [local|kubernetes …]``.

The same client, the same requests, one server after the other in the same run. The real parts come from ``$HORT_TOOLS``
(``make test-kubernetes`` builds them); etcd runs without fsync, as the journal does between its checkpoints. The client is
Python and shares the machine with the server, so that throughput has the client's own limit: CPU per request counts.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hortator.kube.client import Client
from hortator.kube.config import load
from hortator.kube.resources import CONFIG_MAPS
from hortator.kube.transport_http import HttpTransport

# The parts that run Kubernetes' own programs belong to the tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.control_plane import ControlPlane
from support.hort import Hort

NAMESPACE = "default"
LIST_OBJECTS = int(os.environ.get("HORT_BENCH_OBJECTS", "10000"))
REQUESTS = 2000
AT_ONCE = 8
WATCHERS = 100
CHANGES = 100


@dataclass(frozen=True)
class Server:
    """A running server: where it is, and the processes that it is made of."""

    name: str
    kubeconfig: Path
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """Return the CPU seconds that its processes have used."""
        total = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return its resident megabytes."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def local(folder: Path) -> Iterator[Server]:
    """Start a local cluster."""
    hort = Hort(folder)
    hort("up", "-d", "--cpus", "2")
    try:
        yield Server("local", hort.kubeconfig(), (hort.json("status")["pid"],))
    finally:
        hort("down")


@contextmanager
def kubernetes(folder: Path) -> Iterator[Server]:
    """Start etcd and kube-apiserver, alone."""
    plane = ControlPlane(folder / "plane")
    try:
        plane.start()
        yield Server("kubernetes", plane.kubeconfig, (plane.pid("kube-apiserver"), plane.pid("etcd")))
    finally:
        plane.stop()


SERVERS = {"local": local, "kubernetes": kubernetes}


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    """Yield a client of the server's administrator."""
    client = Client(HttpTransport.to(load([str(server.kubeconfig)]).cluster().endpoint))
    try:
        yield client
    finally:
        await client.close()


async def measure(
    server: Server,
    what: str,
    count: int,
    request: Callable[[int], Awaitable[object]],
    *,
    at_once: int = AT_ONCE,
) -> None:
    """Send requests, ``at_once`` at a time, and print a line about them."""
    numbers = iter(range(count))
    times: list[float] = []

    async def work() -> None:
        for number in numbers:
            began = time.perf_counter()
            await request(number)
            times.append(time.perf_counter() - began)

    cpu, began = server.cpu(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    wall, cpu = time.perf_counter() - began, server.cpu() - cpu
    times.sort()
    line(server, what, count / wall, 1e3 * cpu / count, times)


def line(server: Server, what: str, rate: float, cpu: float, times: Sequence[float]) -> None:
    """Print one row of the table."""
    p50, p99 = 1e3 * statistics.median(times), 1e3 * times[min(len(times) - 1, int(0.99 * len(times)))]
    print(
        f"{server.name:<11} {what:<34} {rate:9.1f}/s {cpu:9.3f} ms CPU  p50 {p50:8.2f} ms  p99 {p99:8.2f} ms",
        flush=True,
    )


async def rows(server: Server) -> None:
    """Print all rows of one server."""
    async with connected(server) as client:

        def named(number: int) -> dict[str, object]:
            metadata = {"name": f"m-{number}", "namespace": NAMESPACE, "labels": {"n": str(number % 10)}}
            return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "x" * 200}}

        print(f"{server.name:<11} memory at rest {server.memory():.0f} MB")
        await measure(
            server, "create, 8 at once", LIST_OBJECTS, lambda n: client.create(CONFIG_MAPS, named(n))
        )
        await measure(
            server,
            "create, one at a time",
            200,
            lambda n: client.create(CONFIG_MAPS, named(10**6 + n)),
            at_once=1,
        )
        await measure(
            server,
            "get, 8 at once",
            REQUESTS,
            lambda n: client.get(CONFIG_MAPS, f"m-{n % LIST_OBJECTS}", namespace=NAMESPACE),
        )
        await measure(
            server,
            "merge patch, 8 at once",
            REQUESTS,
            lambda n: client.patch(
                CONFIG_MAPS, f"m-{n % LIST_OBJECTS}", {"data": {"b": "y"}}, namespace=NAMESPACE
            ),
        )
        await measure(
            server,
            f"list of {LIST_OBJECTS}",
            5,
            lambda _: client.list(CONFIG_MAPS, namespace=NAMESPACE),
            at_once=1,
        )
        await fan_out(server, client)
        print(f"{server.name:<11} memory with {LIST_OBJECTS} objects {server.memory():.0f} MB")


async def fan_out(server: Server, client: Client) -> None:
    """Change objects while many watch: from the request to the last watcher's word of it."""
    version = (await client.list(CONFIG_MAPS, namespace=NAMESPACE, limit=1)).resource_version
    sent: list[float] = []
    late: list[float] = []
    ready = asyncio.Semaphore(0)

    async def change(number: int) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "w"},
            "data": {"n": str(number)},
        }
        await client.apply(CONFIG_MAPS, body, namespace=NAMESPACE, field_manager="bench")

    async def watch() -> None:
        query = client.watch(
            CONFIG_MAPS, namespace=NAMESPACE, resource_version=version, fields="metadata.name=w"
        )
        async with aclosing(query) as events:
            async for event in events:
                if event.type == "ADDED":
                    ready.release()
                elif event.type == "MODIFIED":
                    number = int(event.object["data"]["n"])
                    late.append(time.perf_counter() - sent[number])
                    if number == CHANGES - 1:
                        return

    watchers = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    await change(-1)
    for _ in watchers:
        await ready.acquire()
    cpu, began = server.cpu(), time.perf_counter()
    for number in range(CHANGES):
        sent.append(time.perf_counter())
        await change(number)
    await asyncio.gather(*watchers)
    wall, cpu = time.perf_counter() - began, server.cpu() - cpu
    late.sort()
    line(server, f"an event to each of {WATCHERS} watchers", len(late) / wall, 1e3 * cpu / len(late), late)


def main(names: Sequence[str]) -> int:
    """Measure the servers named, or both."""
    for name in names or SERVERS:
        with (
            tempfile.TemporaryDirectory(prefix="hort-bench-") as folder,
            SERVERS[name](Path(folder)) as server,
        ):
            asyncio.run(rows(server))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
