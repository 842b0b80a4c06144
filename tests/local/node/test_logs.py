"""Logs of real containers as a client asks for them: parts, times, earlier runs, and across rotation."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from hortator.kube.errors import BadRequest
from hortator.kube.http import Request
from hortator.kube.resources import PODS
from hortator.local.node.host import LogLimits
from support.local_nodes import LocalCluster, ended, local_cluster, pod

SEGMENT = 16 << 10


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path, log_limits=LogLimits(segment_bytes=SEGMENT, segments=2)) as each:
        yield each


async def test_a_follower_reads_on_where_the_log_is_rotated(cluster: LocalCluster, tmp_path: Path) -> None:
    script = f"echo first; until [ -e {tmp_path}/go ]; do sleep 0.02; done; seq 100000"
    await cluster.client.create(PODS, pod("p", script), namespace="default")
    await cluster.until("p", lambda obj: (obj.get("status") or {}).get("phase") == "Running")
    async with contextlib.aclosing(cluster.client.logs("default", "p", follow=True)) as chunks:
        heard = await anext(chunks)
        (tmp_path / "go").touch()
        async for chunk in chunks:
            heard += chunk
    assert heard.splitlines() == [b"first", *(b"%d" % number for number in range(1, 100_001))]


async def test_what_is_left_after_rotation_is_whole_and_says_what_is_missing(cluster: LocalCluster) -> None:
    # More than two segments can hold however large the pieces are that they are made of.
    count = 200_000
    await cluster.run(pod("p", f"seq -f 'line %010g' 0 {count - 1}"))
    gap, *lines = (await cluster.log("p")).splitlines()
    assert re.fullmatch(rb"\[hort: \d+ bytes of this log are not kept\]", gap)
    assert SEGMENT // 16 <= len(lines) < count
    assert lines == [b"line %010d" % number for number in range(count - len(lines), count)]
    # More than the newest segment holds.
    wanted = len(lines) - 10
    assert (await cluster.log("p", tail_lines=wanted)).splitlines() == lines[10:]


async def test_a_part_is_cut_as_asked(cluster: LocalCluster) -> None:
    await cluster.run(pod("p", "echo one; echo two; echo three"))
    assert await cluster.log("p", limit_bytes=5) == b"one\nt"
    assert await cluster.log("p", tail_lines=2, limit_bytes=5) == b"two\nt"
    assert await cluster.log("p", tail_lines=0) == b""
    stamped = (await cluster.log("p", timestamps=True, tail_lines=1)).decode()
    time, _, text = stamped.partition(" ")
    assert datetime.fromisoformat(time).year >= 2020 and text == "three\n"


async def test_only_what_was_said_since_then(cluster: LocalCluster, tmp_path: Path) -> None:
    script = f"echo before; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo after"
    await cluster.client.create(PODS, pod("p", script), namespace="default")
    await cluster.until("p", lambda obj: (obj.get("status") or {}).get("phase") == "Running")
    await cluster.says("p", b"before")
    between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    (tmp_path / "go").touch()
    await cluster.until("p", ended)
    for since, said in ((between, b"after\n"), ("2026-01-01T00:00:00Z", b"before\nafter\n")):
        request = Request("GET", "/api/v1/namespaces/default/pods/p/log", (("sinceTime", since),))
        answer = await cluster.client.transport.stream(request)
        assert answer.stream is not None
        assert b"".join([chunk async for chunk in answer.stream]) == said


async def test_the_run_before_can_be_read(cluster: LocalCluster, tmp_path: Path) -> None:
    once = tmp_path / "once"
    script = f"test -e {once} && {{ echo second; exit 0; }}; touch {once}; echo first; exit 1"
    await cluster.run(pod("p", script, restartPolicy="OnFailure"))
    assert await cluster.log("p") == b"second\n"
    assert await cluster.log("p", previous=True) == b"first\n"
    assert await cluster.log("p", previous=True, timestamps=True) != b"first\n"


async def test_there_is_no_run_before_the_first(cluster: LocalCluster) -> None:
    await cluster.run(pod("p", "true"))
    message = 'previous terminated container "main" in pod "p" not found'
    with pytest.raises(BadRequest, match=message):
        await cluster.log("p", previous=True)
