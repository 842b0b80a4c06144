"""The file behind the store: what survives, and which files are refused."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hortator.local.apiserver.journal import (
    Journal,
    JournalDamaged,
    JournalError,
    JournalInUse,
    JournalNewer,
    JournalNotWritable,
)
from support.api import CRDS, MAPS, MERGE, PODS, WIDGETS, Api, pod, running_api, widgets


async def test_objects_and_definitions_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    async with running_api(journal=path) as api:
        await api.post(CRDS, widgets(selectableFields=[{"jsonPath": ".spec.color"}]))
        await api.post(WIDGETS, {"metadata": {"name": "w"}, "spec": {"color": "red"}})
        await api.post(PODS, pod(nodeName="n"))
        await api.post(MAPS, {"metadata": {"name": "gone"}})
        await api("DELETE", f"{MAPS}/gone")
        token = await api.account("robot")
        before = await api.get(PODS)
    async with running_api(journal=path) as api:
        assert (await api.get(PODS))["items"] == before["items"]
        assert (await api.get(WIDGETS, fieldSelector="spec.color=red"))["items"][0]["metadata"]["name"] == "w"
        assert len((await api.get("/api/v1/pods", fieldSelector="spec.nodeName=n"))["items"]) == 1
        assert (await api("GET", f"{MAPS}/gone")).status == 404
        assert (await api("GET", "/api", token=token)).status == 200
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_watch_from_before_the_restart_is_told_to_start_again(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    async with running_api(journal=path) as api:
        await api.post(MAPS, {"metadata": {"name": "m"}})
        listed = await api.get(MAPS, limit=1)
    async with running_api(journal=path) as api:
        version = listed["metadata"]["resourceVersion"]
        kind, status = await (await api.watch(MAPS, resourceVersion=version)).next_within(1)
        assert (kind, status["code"]) == ("ERROR", 410)
        again = (await api.get(MAPS))["metadata"]["resourceVersion"]
        assert int(again) > int(version)
        assert (await api.raw("GET", MAPS, watch="true", resourceVersion=again)).status == 200


async def test_writes_at_the_same_time_all_arrive(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    async with running_api(journal=path) as api:
        await api.post(MAPS, {"metadata": {"name": "m"}})
        await asyncio.gather(
            *(api.post(MAPS, {"metadata": {"name": f"m{index}"}}) for index in range(100)),
            *(api("PATCH", f"{MAPS}/m", {"data": {f"k{index}": "x"}}, kind=MERGE) for index in range(20)),
        )
        watched = await api.get(MAPS)
    async with running_api(journal=path) as api:
        assert (await api.get(MAPS))["items"] == watched["items"]
        assert len(watched["items"]) == 101
        assert len((await api.get(f"{MAPS}/m"))["data"]) == 20


def write_rows(path: Path, **pragmas: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}")
    connection.close()


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalNewer, match=r"format 99.*Use the newer program, or another data folder"):
        Journal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["text", "other program", "torn"])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "objects.db"
    if kind == "text":
        path.write_text("this is no database\n" * 100)
    elif kind == "other program":
        write_rows(path, user_version=1)
    else:

        async def fill() -> None:
            async with running_api(journal=path) as api:
                for index in range(50):
                    await api.post(MAPS, {"metadata": {"name": f"m{index}"}, "data": {"fill": "x" * 3000}})

        asyncio.run(fill())
        content = bytearray(path.read_bytes())
        content[20_000:60_000] = b"\xa5" * 40_000
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(JournalDamaged, match=r"It was not touched\. Move the data folder away"):
        Journal(path)
    assert path.read_bytes() == before


async def test_an_object_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    async with running_api(journal=path) as api:
        await api.post(MAPS, {"metadata": {"name": "m"}})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE objects SET data = ? WHERE name = 'm'", (b"{broken",))
    connection.close()
    with pytest.raises(JournalDamaged, match="/configmaps default/m cannot be read"):
        async with running_api(journal=path):
            pass
    Journal(path).close()  # the refused start let go of the file


def test_one_server_for_each_file(tmp_path: Path) -> None:
    first = Journal(tmp_path / "objects.db")
    try:
        code = (
            "import sys; from pathlib import Path; from hortator.local.apiserver.journal import *\n"
            "try: Journal(Path(sys.argv[1]))\nexcept JournalInUse: sys.exit(7)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        found = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "objects.db"], env=environment, check=False
        )
        assert found.returncode == 7
        with pytest.raises(JournalInUse, match="Stop that cluster first"):
            Journal(tmp_path / "objects.db")
    finally:
        first.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(JournalNotWritable, match=r"No such file or directory.*choose another data folder"):
        Journal(tmp_path / "none" / "objects.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalNotWritable, match="Not a directory"):
        Journal(tmp_path / "file" / "objects.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalNotWritable, match="Permission denied"):
        Journal(tmp_path / "objects.db")


async def test_a_full_disk_refuses_writes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with running_api(journal=path) as api:
        await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "1"}})
        watch = await api.watch(MAPS)
        await watch.next()
        size = path.with_name(path.name + "-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
        try:
            big = {"metadata": {"name": "big"}, "data": {"fill": "x" * 100_000}}
            answer = await api("POST", MAPS, big)
            assert answer.status == 507, answer
            assert "nothing was changed" in answer.message and "choose another data folder" in answer.message
            assert (await api("GET", f"{MAPS}/big")).status == 404
            assert (await api.get(f"{MAPS}/m"))["data"] == {"a": "1"}
            several = await asyncio.gather(
                *(api("POST", MAPS, {**big, "metadata": {"name": f"b{n}"}}) for n in range(4))
            )
            assert {each.status for each in several} == {507}
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (await api.post(MAPS, big)).status == 201
        assert await watch.names(1) == [("ADDED", "big")]
    async with running_api(journal=path) as api:
        assert {item["metadata"]["name"] for item in (await api.get(MAPS))["items"]} == {"m", "big"}


async def churn(api: Api, rounds: int) -> None:
    for number in range(rounds):
        name = f"m{number}"
        await api.post(MAPS, {"metadata": {"name": name}, "data": {"fill": "x" * 20_000}})
        await api("DELETE", f"{MAPS}/{name}")


async def test_the_file_does_not_grow_with_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    async with running_api(journal=path) as api:
        await churn(api, 50)
    once = path.stat().st_size
    async with running_api(journal=path) as api:
        await churn(api, 300)
    assert path.stat().st_size < 2 * once


def test_every_error_says_what_to_do() -> None:
    for error in (
        JournalDamaged(Path("f"), "x"),
        JournalNewer(Path("f"), 2),
        JournalNotWritable(Path("f"), "x"),
    ):
        assert isinstance(error, JournalError)
        assert error.advice and str(error).startswith("f: ")
