"""A server in a process of its own that writes until it is killed; each acknowledged write is a line on its output."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from hortator.kube.http import Request
from hortator.local.apiserver.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"


async def main(path: Path) -> None:
    server = ApiServer(journal=path, owner_token="t", connector=lambda name: None)
    await server.start()
    headers = {"authorization": "Bearer t"}

    async def write(writer: int) -> None:
        number = 0
        while True:
            name = f"m-{writer}-{number}"
            body = json.dumps({"metadata": {"name": name}, "data": {"fill": "x" * 2000}}).encode()
            answer = await server.handle(Request("POST", MAPS, (), headers, body))
            version = json.loads(answer.body)["metadata"]["resourceVersion"]
            print(answer.status, name, version, flush=True)
            number += 1

    await asyncio.gather(*(write(number) for number in range(8)))


asyncio.run(main(Path(sys.argv[1])))
