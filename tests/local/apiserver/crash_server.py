"""A server that lives as often as it is asked to, and writes and tells until it is killed.

Each line on its input is one life: a fork, so that two hundred lives take seconds. On its output, a JSON list a line:
its ``pid``, what it ``found`` when it began until it was ``ready``, what each client is about to do (``try``) and what was
answered (``done``), what a watcher ``saw``, its ``end``. :mod:`test_crashes` judges it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from hortator.kube.http import Request
from hortator.local.apiserver.scheme import load_scheme
from hortator.local.apiserver.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
CLIENTS = 8
NAMES = 3


def say(*words: Any) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")  # one write, so that no line is torn by the others


def content(value: int, size: int) -> dict[str, str]:
    """Two fields that always agree, far apart: half an object would show."""
    return {"value": str(value), "fill": "x" * size, "witness": str(value)}


class Life:
    """One server, from its start to its end."""

    def __init__(self, server: ApiServer, seed: int, size: int) -> None:
        self.server = server
        self.size = size
        self.random = random.Random(seed)

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        headers = {"authorization": "Bearer t", "content-type": kind}
        sent = b"" if body is None else json.dumps(body).encode()
        query = (("watch", "true"),) if method == "WATCH" else ()
        return await self.server.handle(Request("GET" if query else method, path, query, headers, sent))

    async def tell(self) -> None:
        listed = json.loads((await self.ask("GET", MAPS)).body)
        for item in listed["items"]:
            metadata = item["metadata"]
            say("found", metadata["name"], int(metadata["resourceVersion"]), item.get("data", {}))
        say("ready", int(listed["metadata"]["resourceVersion"]))

    async def watch(self) -> None:
        response = await self.ask("WATCH", MAPS)
        async for chunk in response.stream:
            for line in chunk.splitlines():
                event = json.loads(line)
                metadata = event["object"]["metadata"]
                say("saw", event["type"], metadata["name"], int(metadata["resourceVersion"]))

    async def write(self, client: int, seed: int) -> None:
        """One client: names of its own, written in every way, and one key of an object that all share."""
        steps = 0
        while True:
            steps += 1
            value = seed * 100_000 + steps
            choice = self.random.choice(("POST", "PUT", "PATCH", "PATCH", "DELETE", "shared"))
            name = "shared" if choice == "shared" else f"c{client}-{self.random.randrange(NAMES)}"
            path = f"{MAPS}/{name}"
            say("try", client, choice, name, value)
            if choice == "POST":
                body = {"metadata": {"name": name}, "data": content(value, self.size)}
                answer = await self.ask("POST", MAPS, body)
            elif choice == "PUT":
                answer = await self.ask(
                    "PUT", path, {"metadata": {"name": name}, "data": content(value, self.size)}
                )
            elif choice == "PATCH":
                answer = await self.ask("PATCH", path, {"data": content(value, self.size)}, MERGE)
            elif choice == "DELETE":
                answer = await self.ask("DELETE", path)
            else:
                answer = await self.ask("PATCH", path, {"data": {f"k{client}": str(value)}}, MERGE)
            metadata = json.loads(answer.body).get("metadata", {})
            say("done", client, choice, name, value, answer.status, int(metadata.get("resourceVersion") or 0))


async def live(path: Path, seed: int, size: int) -> None:
    server = ApiServer(journal=path, owner_token="t", connector=lambda name: None)
    await server.start()
    life = Life(server, seed, size)
    await life.tell()
    await life.ask("POST", MAPS, {"metadata": {"name": "shared"}, "data": {}})
    await asyncio.gather(life.watch(), *(life.write(client, seed) for client in range(CLIENTS)))


def main(path: Path, size: int) -> None:
    load_scheme()
    for seed, _ in enumerate(sys.stdin, 1):
        child = os.fork()
        if child == 0:
            asyncio.run(live(path, seed, size))
        say("pid", child)
        os.waitpid(child, 0)
        say("end")


main(Path(sys.argv[1]), int(sys.argv[2]))
