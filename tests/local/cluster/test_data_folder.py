"""A data folder that cannot be used: each says what is wrong with it, and nothing in it is overwritten."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hort import Hort
from support.small_disk import small_disk
from support.users import as_user, folder_of, others_python

Maker = Callable[..., Hort]


def contents(folder: Path) -> dict[str, object]:
    """Return what a cluster that is down has stored: rows where they can be read, else bytes."""
    found: dict[str, object] = {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in ("cluster.log", "lock", "port")
    }
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(sqlite3.connect(folder / "journal.db")) as journal,
    ):
        # Opening and closing may move a database's pages about; nothing of it may change.
        found["journal.db"] = list(journal.iterdump())
    return found


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a cluster that ran a job and was stopped."""
    hort = Hort(tmp_path_factory.mktemp("used"))
    hort("up", "-d")
    hort("run", "--name", "kept", "--", "true")
    hort("down")
    return hort.home / "data"


def refused(hort: Hort, *words: str) -> str:
    """Start the cluster both ways, which has to fail in the same words; return them."""
    background = hort("up", "-d", *words, code=1).stderr.decode()
    foreground = hort("up", *words, code=1).stderr.decode()
    assert background.startswith("error: ") and "Traceback" not in background + foreground
    assert foreground.endswith(background)
    assert hort("status", code=3).stdout == b"the local cluster is not running\n"
    return background


DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "text": (lambda path: path.write_text("no database\n" * 1000), ("is damaged", "was not touched")),
    "torn": (
        lambda path: path.write_bytes(path.read_bytes()[:8000] + b"\xa5" * 8000),
        ("is damaged", "Move the data folder away"),
    ),
    "newer": (
        lambda path: _execute(path, "PRAGMA user_version = 99"),
        ("has format 99", "Use the newer program, or another data folder"),
    ),
    "another program's": (
        lambda path: _execute(path, "PRAGMA application_id = 1"),
        ("belongs to another program",),
    ),
    "an object is broken": (
        lambda path: _execute(path, "UPDATE objects SET data = '{' WHERE name LIKE 'kept-%'"),
        ("kept-1", "cannot be read"),
    ),
}


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("case", DAMAGE)
def test_a_journal_that_cannot_be_read(new_hort: Maker, used: Path, case: str) -> None:
    hort = new_hort()
    damage, words = DAMAGE[case]
    shutil.copytree(used, hort.home / "data")
    journal = hort.home / "data" / "journal.db"
    damage(journal)
    before = contents(hort.home / "data")
    said = refused(hort)
    assert str(journal) in said and all(word in said for word in words), said
    assert contents(hort.home / "data") == before


def test_the_same_folder_undamaged_lists_the_job(new_hort: Maker, used: Path) -> None:
    hort = new_hort()
    shutil.copytree(used, hort.home / "data")
    hort("up", "-d")
    assert [job["name"] for job in hort.json("jobs")] == ["kept-1"]


def test_a_folder_that_is_a_file(new_hort: Maker) -> None:
    hort = new_hort()
    (hort.home / "data").write_text("mine")
    said = refused(hort)
    assert str(hort.home / "data") in said and "--data-dir" in said
    assert (hort.home / "data").read_text() == "mine"


def test_folders_that_others_could_have_made_are_not_trusted(new_hort: Maker) -> None:
    hort = new_hort()
    (hort.home / "elsewhere").mkdir()
    (hort.home / "data").symlink_to(hort.home / "elsewhere")
    assert "is not a folder of yours" in refused(hort)
    assert not list((hort.home / "elsewhere").iterdir())


def test_folders_that_may_not_be_written() -> None:
    user = as_user(65533)
    with others_python() as python, folder_of(65533) as home:
        hort = Hort(home, python=python, prefix=user, env={"PYTHONPATH": ""})
        (home / "data").mkdir(mode=0o500)
        os.chown(home / "data", 65533, 65533)
        # Ours to change, so it is made private and writable only where that is no surprise: not here.
        said = refused(hort)
        assert str(home / "data") in said and "Permission denied" in said, said
        home.chmod(0o500)
        (home / "data").rmdir()
        said = refused(hort)
        assert f"cannot make the folder {home}/data" in said and "Permission denied" in said
        assert "--data-dir" in said
        home.chmod(0o700)


def test_a_full_disk_while_the_cluster_runs(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "8m") as disk:
        hort = Hort(tmp_path, prefix=disk.inside)
        hort("up", "-d")
        try:
            hort("run", "--name", "before", "--", "true")
            pid = hort.json("status")["pid"]
            disk.fill()
            said = hort("submit", "--name", "while", "--", "true", code=1).stderr.decode()
            assert "cannot be written" in said and "Make room" in said and "Traceback" not in said, said
            assert [job["name"] for job in hort.json("jobs")] == ["before-1"]  # reads go on
            assert hort.json("status")["pid"] == pid
            disk.free()
            hort("run", "--name", "after", "--", "true")
            assert {job["name"] for job in hort.json("jobs")} == {"before-1", "after-1"}
        finally:
            hort("down", code=None)


def test_a_full_disk_before_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "64k") as disk:
        hort = Hort(tmp_path, prefix=disk.inside)
        disk.fill()
        said = hort("up", "-d", code=1).stderr.decode()
        assert "No space left on device" in said and str(tmp_path / "data") in said, said
        assert "Traceback" not in said


def test_a_full_disk_does_not_keep_the_cluster_from_ending(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", "8m") as disk:
        hort = Hort(tmp_path, prefix=disk.inside)
        hort("up", "-d")
        pid = hort.json("status")["pid"]
        disk.fill()
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        assert select.select([descriptor], [], [], 60)[0], "it has not ended"
        os.close(descriptor)
