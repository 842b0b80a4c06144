"""Tokens of a pod's volumes over time: fetched again before they end, kept while there is no other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hortator.apimachinery.meta import rfc3339
from hortator.kube.errors import Unavailable
from hortator.local.node.environment import FieldContext
from hortator.local.node.podvolumes import PodVolumes
from hortator.local.node.volumes import MountFailed

TOKEN = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 1000}}
LABELS = {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}


class Server:
    """The token subresource: numbered tokens, or none while it is down."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, dict[str, Any]]] = []
        self.down = False

    async def create(self, resource: Any, body: dict[str, Any], **where: Any) -> dict[str, Any]:
        self.asked.append((asyncio.get_running_loop().time(), {**body["spec"], **where}))
        if self.down:
            raise Unavailable("/", "down")
        ends = datetime.now(UTC) + timedelta(seconds=body["spec"]["expirationSeconds"])
        token = f"token {len(self.asked)}"
        return {"status": {"token": token, "expirationTimestamp": rfc3339(ends)}}


def pod_with(*sources: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "1"}},
        "spec": {
            "serviceAccountName": "worker",
            "containers": [{"name": "c"}],
            "volumes": [
                {"name": f"v{number}", "projected": {"sources": [each]}}
                for number, each in enumerate(sources)
            ],
        },
    }


class Mounted:
    """The volumes of a pod as its worker keeps them."""

    def __init__(self, pod: dict[str, Any], server: Server, folder: Path) -> None:
        self.pod, self.folder = pod, folder
        self.due = asyncio.Event()
        self.volumes = PodVolumes(
            pod,
            client=server,  # type: ignore[arg-type]
            objects=None,  # type: ignore[arg-type]
            data=folder / "data",
            run=folder / "run",
            changed=self.due.set,
        )

    def context(self) -> FieldContext:
        return FieldContext(self.pod, "", "", "n", {})

    async def prepare(self) -> None:
        await self.volumes.prepare(self.context())

    async def refresh(self) -> float:
        """Wait until something is due, do it, and return when that was."""
        await self.due.wait()
        self.due.clear()
        await self.volumes.refresh(self.pod, self.context())
        return asyncio.get_running_loop().time()

    def file(self, path: str) -> str:
        return (self.folder / "run" / "volumes" / path).read_text()


async def test_a_token_is_bound_to_its_pod_and_renewed_after_four_fifths_of_its_life(tmp_path: Path) -> None:
    server = Server()
    mounted = Mounted(pod_with(TOKEN), server, tmp_path)
    await mounted.prepare()
    assert mounted.file("v0/token") == "token 1"
    _, asked = server.asked[0]
    assert (asked["namespace"], asked["name"], asked["subresource"]) == ("ns", "worker", "token")
    assert (asked["audiences"], asked["expirationSeconds"]) == (["vault"], 1000)
    assert asked["boundObjectRef"] == {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}
    for number in (1, 2):
        assert await mounted.refresh() == pytest.approx(800.0 * number, abs=5)
        assert mounted.file("v0/token") == f"token {number + 1}"


async def test_a_token_that_lasts_long_is_renewed_every_day(tmp_path: Path) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 30 * 86400}}
    mounted = Mounted(pod_with(source), Server(), tmp_path)
    await mounted.prepare()
    assert await mounted.refresh() == pytest.approx(86400.0, abs=5)


async def test_a_token_is_kept_while_there_is_no_other_and_it_is_good(tmp_path: Path) -> None:
    server = Server()
    mounted = Mounted(pod_with(TOKEN), server, tmp_path)
    await mounted.prepare()
    server.down = True
    assert await mounted.refresh() == pytest.approx(800.0, abs=5)
    assert await mounted.refresh() == pytest.approx(810.0, abs=5)
    assert mounted.file("v0/token") == "token 1"
    server.down = False
    assert await mounted.refresh() == pytest.approx(820.0, abs=5)
    assert mounted.file("v0/token") == "token 4"


async def test_an_expired_token_is_a_failure_and_other_volumes_go_on(tmp_path: Path) -> None:
    server = Server()
    mounted = Mounted(pod_with(TOKEN, LABELS), server, tmp_path)
    await mounted.prepare()
    server.down = True
    mounted.pod = {**mounted.pod, "metadata": {**mounted.pod["metadata"], "labels": {"a": "2"}}}
    await asyncio.sleep(1001)
    with pytest.raises(MountFailed, match=r'MountVolume.SetUp failed for volume "v0" : .*down'):
        await mounted.refresh()
    assert mounted.file("v1/labels") == 'a="2"'
