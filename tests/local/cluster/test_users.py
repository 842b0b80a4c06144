"""Several clusters on one machine: of one user in several folders, and of several users."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.hort import Hort
from support.users import as_user, folder_of, others_python

Maker = Callable[..., Hort]

USERS = (65531, 65532)

#: Prints what another user is told when he tries to read a file, to enter a folder, to connect to a socket.
TRY = """
import errno, os, socket, sys
for path in sys.argv[1:]:
    try:
        if path.endswith(".sock"):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            os.listdir(path) if os.path.isdir(path) else open(path).close()
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("OPEN")
"""


def test_two_clusters_of_one_user_do_not_meet(new_hort: Maker) -> None:
    first, second = new_hort("first"), new_hort("second")
    for hort in (first, second):
        hort("up", "-d", "--cpus", "2")
    states = [hort.json("status") for hort in (first, second)]
    for key in ("pid", "port", "socket", "data"):
        assert states[0][key] != states[1][key]
    first("run", "--name", "mine", "--", "true")
    assert [job["name"] for job in first.json("jobs")] == ["mine-1"] and second.json("jobs") == []
    assert first.json("jobs", "--data-dir", states[1]["data"]) == []
    first("down")
    second("run", "-n", "2", "--name", "still", "--", "true")
    assert [job["name"] for job in second.json("jobs")] == ["still-1"]


@pytest.fixture(scope="module")
def two_users() -> Iterator[list[Hort]]:
    """A running cluster of each of two ordinary users."""
    prefixes = [as_user(uid) for uid in USERS]
    with ExitStack() as ending:
        python = ending.enter_context(others_python())
        made = []
        for uid, prefix in zip(USERS, prefixes, strict=True):
            home = ending.enter_context(folder_of(uid))
            hort = Hort(home, python=python, prefix=prefix, env={"PYTHONPATH": "", "USER": f"user-{uid}"})
            ending.callback(hort, "down", code=None)
            hort("up", "-d", "--cpus", "2")
            made.append(hort)
        yield made


def test_each_user_runs_a_job_of_his_own(two_users: list[Hort]) -> None:
    script = "import os; from mpi4py import MPI; print(os.getuid(), MPI.COMM_WORLD.allreduce(1))"
    for uid, hort in zip(USERS, two_users, strict=True):
        done = hort(
            "run", "-n", "2", "--workers", "2", "--name", f"of-{uid}", "--", hort.python, "-c", script
        )
        assert done.stdout.split(b"\n") == [f"{uid} 2".encode()] * 2 + [b""], done
        assert [job["name"] for job in hort.json("jobs")] == [f"of-{uid}-1"]
    ports = {hort.json("status")["port"] for hort in two_users}
    assert len(ports) == 2


def test_neither_reads_what_is_the_others(two_users: list[Hort]) -> None:
    for ours, theirs in (two_users, reversed(two_users)):
        state = theirs.json("status")
        data, socket = Path(state["data"]), state["socket"]
        # The home folder is open, as many are: what is in it has to look after itself.
        theirs.home.chmod(0o755)
        paths = [str(data / "token"), str(data / "journal.db"), str(data), socket, str(Path(socket).parent)]
        tried = subprocess.run(
            [*ours.prefix, ours.python, "-c", TRY, *paths],
            capture_output=True,
            check=True,
        )
        assert tried.stdout.split() == [b"EACCES"] * len(paths), tried.stdout
        refused = ours("jobs", "--data-dir", str(data), code=None)
        assert refused.returncode != 0 and b"Permission denied" in refused.stderr
        assert b"Traceback" not in refused.stderr


def test_another_user_is_not_let_in_over_the_port(two_users: list[Hort]) -> None:
    ours, theirs = two_users
    port = theirs.json("status")["port"]
    token = (ours.home / "data" / "token").read_text().strip()
    probe = (
        "import http.client, ssl, sys; c = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), timeout=30,"
        " context=ssl._create_unverified_context());"
        "c.request('GET', '/api/v1/pods', headers={'authorization': 'Bearer ' + sys.argv[2]} if sys.argv[2] else {});"
        "print(c.getresponse().status)"
    )
    for given, status in ((token, b"401"), ("", b"403")):
        done = subprocess.run(
            [*ours.prefix, ours.python, "-c", probe, str(port), given], capture_output=True, check=True
        )
        assert done.stdout.strip() in (status, b"401"), done.stdout


def test_no_password_is_in_the_process_list_or_the_log(two_users: list[Hort]) -> None:
    token = (two_users[0].home / "data" / "token").read_text().strip()
    assert token not in two_users[0].log()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            assert token.encode() not in line or int(folder.name) == os.getpid(), line
