"""Containers as root, as an ordinary user, and where the kernel forbids namespaces: what each of them is promised."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hortator.local.node.container import ContainerProcess, LaunchFailed, read_log
from hortator.local.node.sandbox import Mount
from hortator.local.node.zygote import Zygote
from hortator.local.streams import LogOptions
from support.containers import container
from support.local_nodes import existing_paths, marked

SOURCES = Path(__file__).parents[3] / "src"
#: Debian's Python, which an ordinary user may run wherever the tests' own Python lies.
SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@dataclass(frozen=True)
class Way:
    """How the zygote is run."""

    name: str
    prefix: tuple[str, ...] = ()
    sandbox: bool = True
    needs_root: bool = False


WAYS = [
    Way("as we are"),
    Way("ordinary user", (*NOBODY, SYSTEM_PYTHON), needs_root=True),
    Way(
        "user namespaces forbidden",
        (
            *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
            f'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all {SYSTEM_PYTHON} "$@"',
            "sh",
        ),
        sandbox=False,
    ),
    Way("switched off", sandbox=False),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def zygote_of(way: Way, folder: Path) -> AsyncIterator[Zygote]:
    if way.needs_root and os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    prefix: Sequence[str] = way.prefix
    if prefix:
        # The sources are copied: the checkout may be closed to others.
        shutil.copytree(SOURCES, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        prefix = ("env", f"PYTHONPATH={folder}/src", "PYTHONDONTWRITEBYTECODE=1", *prefix)
    zygote = Zygote.launch(sandbox=way.name != "switched off", prefix=prefix)
    try:
        yield zygote
    finally:
        await zygote.close()


async def log_of(folder: Path) -> str:
    chunks = [chunk async for chunk in read_log(folder / "log", LogOptions(container="c"), None)]
    return b"".join(chunks).decode()


ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
sandboxed = pytest.mark.parametrize("way", [way for way in WAYS if way.sandbox], ids=lambda way: way.name)
plain = pytest.mark.parametrize("way", [way for way in WAYS if not way.sandbox], ids=lambda way: way.name)


@ways
async def test_a_program_runs_and_its_end_is_told(way: Way, folder: Path) -> None:
    async with zygote_of(way, folder) as zygote:
        assert (await zygote.open()).mounts is way.sandbox
        process = await ContainerProcess.launch(zygote, container(folder, "echo hello; exit 4"))
        assert (await process.wait()).code == 4
        assert await log_of(folder) == "hello\n"


@ways
async def test_every_process_ends_with_the_program(way: Way, folder: Path) -> None:
    mark = uuid.uuid4().hex
    # A daemon as MPI's: a session of its own, orphaned, ignoring signals.
    script = "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000; sleep 1000' &) ; sleep 0.1; exit 0"
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, script, env={"PATH": os.environ["PATH"], "MARK": mark})
        process = await ContainerProcess.launch(zygote, spec)
        assert (await process.wait()).code == 0
        assert marked(mark) == []


@ways
async def test_nothing_is_left_when_the_cluster_is_killed(way: Way, folder: Path) -> None:
    mark = uuid.uuid4().hex
    script = "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000; sleep 1000' &) ; sleep 1000; sleep 1000"
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, script, env={"PATH": os.environ["PATH"], "MARK": mark})
        process = await ContainerProcess.launch(zygote, spec)
        # What the kernel does to the sockets of a killed process.
        await process.close()
    assert marked(mark) == []


@ways
async def test_nothing_is_left_when_a_containers_first_process_is_killed(way: Way, folder: Path) -> None:
    mark = uuid.uuid4().hex
    script = "(setsid sh -c 'echo up; sleep 1000; sleep 1000' &) ; sleep 1000; sleep 1000"
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, script, env={"PATH": os.environ["PATH"], "MARK": mark})
        process = await ContainerProcess.launch(zygote, spec)
        follower = read_log(folder / "log", LogOptions(container="c", follow=True), process)
        assert await anext(follower) == b"up\n"
        os.kill(process.init_pid, signal.SIGKILL)
        ended = await process.wait()
        assert ended.lost
        await follower.aclose()
    assert marked(mark) == []


@ways
async def test_nothing_is_left_when_the_zygote_is_killed(way: Way, folder: Path) -> None:
    mark = uuid.uuid4().hex
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, "sleep 1000; sleep 1000", env={"PATH": os.environ["PATH"], "MARK": mark})
        process = await ContainerProcess.launch(zygote, spec)
        os.kill(zygote.pid, signal.SIGKILL)
        await process.wait()
        assert marked(mark) == []


@ways
async def test_exec_has_the_containers_view(way: Way, folder: Path) -> None:
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, "exec sleep 1000", env={"PATH": os.environ["PATH"], "A": "b"})
        process = await ContainerProcess.launch(zygote, spec)
        session = await process.exec(["sh", "-c", "cat; echo $A $(pwd); exit 9"], stdin=True, tty=False)
        await session.write(b"in\n")
        await session.close_stdin()
        assert b"".join([data async for _, data in session.output()]) == b"in\nb /\n"
        assert await session.wait() == 9
        await session.close()
        await process.signal(signal.SIGTERM)
        assert (await process.wait()).code == 143


@sandboxed
async def test_people_stay_who_they_are(way: Way, folder: Path) -> None:
    async with zygote_of(way, folder) as zygote:
        process = await ContainerProcess.launch(
            zygote, container(folder, f"id -u; hostname; touch {folder}/mine")
        )
        await process.wait()
        uid = 65534 if way.needs_root else os.geteuid()
        assert await log_of(folder) == f"{uid}\npod-0\n"
        assert (folder / "mine").stat().st_uid == uid


@sandboxed
async def test_mounts_appear_anywhere_and_nowhere_else(way: Way, folder: Path) -> None:
    volume = folder / "volume"
    volume.mkdir()
    (volume / "file").write_text("content\n")
    (volume / "file").chmod(0o644)
    volume.chmod(0o755)
    mounts = (
        Mount(str(volume), "/etc/mpi/deep", read_only=True),
        Mount(str(volume), "/new/top"),
        Mount(str(volume), "/usr/share/hortator-test"),
        Mount(str(volume / "file"), "/etc/hosts", file=True),
        Mount(str(volume / "file"), "/dev/termination-log", file=True),
    )
    script = (
        "cat /etc/mpi/deep/file /new/top/file /usr/share/hortator-test/file /etc/hosts /dev/termination-log;"
        " touch /etc/mpi/deep/x 2>/dev/null || echo read-only; ls /usr/share/doc >/dev/null && ls -d /dev/shm /proc/1"
    )
    async with zygote_of(way, folder) as zygote:
        process = await ContainerProcess.launch(zygote, container(folder, script, mounts=mounts))
        assert (await process.wait()).code == 0
    assert await log_of(folder) == "content\n" * 5 + "read-only\n/dev/shm\n/proc/1\n"
    assert existing_paths("/etc/mpi", "/new", "/usr/share/hortator-test", "/dev/termination-log") == []


@sandboxed
async def test_the_machines_own_tmp_is_visible_and_writable(way: Way, folder: Path) -> None:
    async with zygote_of(way, folder) as zygote:
        process = await ContainerProcess.launch(
            zygote, container(folder, f"echo here > {folder}/out; test -d /dev/shm")
        )
        assert (await process.wait()).code == 0
    assert (folder / "out").read_text() == "here\n"


@sandboxed
async def test_a_mount_path_below_a_folder_of_the_persons_own_is_made(way: Way, folder: Path) -> None:
    volume = folder / "volume"
    volume.mkdir()
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, f"test -d {folder}/a/b", mounts=(Mount(str(volume), f"{folder}/a/b"),))
        process = await ContainerProcess.launch(zygote, spec)
        assert (await process.wait()).code == 0
    assert (folder / "a" / "b").is_dir()


@plain
async def test_why_there_is_no_sandbox_is_told(way: Way, folder: Path) -> None:
    async with zygote_of(way, folder) as zygote:
        assert (await zygote.open()).why


@ways
async def test_a_program_that_cannot_be_started_is_told(way: Way, folder: Path) -> None:
    async with zygote_of(way, folder) as zygote:
        spec = container(folder, "") | {"argv": ["/bin"]}
        with pytest.raises(LaunchFailed, match="is a directory") as caught:
            await ContainerProcess.launch(zygote, spec)
        assert caught.value.reason == "StartError"


async def test_a_follower_loses_nothing_and_holds_the_program_back(folder: Path) -> None:
    total = 8 << 20  # four times what is kept
    async with zygote_of(WAYS[0], folder) as zygote:
        spec = container(folder, f"yes 0123456789 | head -c {total}; echo done > {folder}/done")
        process = await ContainerProcess.launch(zygote, spec)
        follower = read_log(folder / "log", LogOptions(container="c", follow=True), process)
        got = len(await anext(follower))
        # The reader sleeps: the program must still be there, however long that lasts.
        await asyncio.sleep(0.3)
        assert not (folder / "done").exists()
        async for chunk in follower:
            got += len(chunk)
        assert got == total
        await process.wait()
    assert (folder / "done").exists()


async def test_without_a_follower_the_oldest_output_goes_and_the_gap_is_marked(folder: Path) -> None:
    total = 8 << 20
    async with zygote_of(WAYS[0], folder) as zygote:
        spec = container(folder, f"yes 0123456789 | head -c {total}")
        process = await ContainerProcess.launch(zygote, spec)
        await process.wait()
    log = await log_of(folder)
    first, rest = log.split("\n", 1)
    assert first.startswith("[hort: ") and first.endswith(" bytes of this log are not kept]")
    assert int(first.split()[1]) + len(rest) == total


async def test_a_terminal_is_the_programs_own(folder: Path) -> None:
    async with zygote_of(WAYS[0], folder) as zygote:
        spec = container(folder, "read line; tty -s && echo terminal $line")
        process = await ContainerProcess.launch(zygote, spec, stdin=True, tty=True)
        await process.write_stdin(b"typed\n")
        assert (await process.wait()).code == 0
    assert "terminal typed" in await log_of(folder)


def test_the_zygote_is_forked_from_a_process_without_threads() -> None:
    script = (
        "import threading, time\n"
        "from hortator.local.node.zygote import Zygote\n"
        "threading.Thread(target=time.sleep, args=(0.2,)).start()\n"
        "try:\n    Zygote.start()\nexcept RuntimeError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCES)},
        check=True,
    )
    assert done.stdout == "the zygote must be forked before any thread is started\n"


def test_killing_the_cluster_leaves_no_process(folder: Path) -> None:
    """The zygote as the cluster starts it: forked; then the cluster is killed as a whole."""
    mark = uuid.uuid4().hex
    script = (
        "import asyncio, json, sys, time\n"
        "from pathlib import Path\n"
        "from hortator.local.node.zygote import Zygote\n"
        "zygote = Zygote.start()\n"
        "from hortator.local.node.container import ContainerProcess\n"
        "async def main():\n"
        "    await ContainerProcess.launch(zygote, json.loads(sys.argv[1]))\n"
        "    print(zygote.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    spec = container(
        folder,
        "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000; sleep 1000' &) ; sleep 1000; sleep 1000",
        env={"PATH": os.environ["PATH"], "MARK": mark},
    )
    cluster = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(spec)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(SOURCES)},
    )
    with cluster:
        assert cluster.stdout is not None
        zygote = os.pidfd_open(int(cluster.stdout.readline()))
        assert marked(mark) != []
        cluster.kill()
        # The zygote outlives the cluster only until everything has ended.
        select.select([zygote], [], [])
        os.close(zygote)
    assert marked(mark) == []
