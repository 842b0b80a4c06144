"""An MPI job without a cluster: launcher, workers and remote shell are plain processes of this machine.

What the operator and the node would give (hostfile, agent, run folder, environment of the pods) is given here by hand;
wrapper, collector, launch and enter are the real ones, and so is mpirun.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hortator.jobs
from hortator.jobs.context import Context, capture, encode
from hortator.jobs.tagged import Decoder, Exit, Other, Output, Start

JOBS = Path(hortator.jobs.__file__).parent
ROOT = [f"{p}_ALLOW_RUN_AS_ROOT{s}" for p in ("PRTE", "OMPI") for s in ("", "_CONFIRM")]
START = [sys.executable, "-I", "-S", str(JOBS / "start.py")]

AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=${1%%%%.*}
shift
export HORT_RUN_DIR=%(base)s/$host/run HORT_WORKER=$host
. %(base)s/$host/env
cd /
exec $HORT_ENTER /bin/sh -c "$*"
"""


@dataclass
class Outcome:
    """What a job left: exit code, the launcher's output, each worker's log."""

    code: int
    stdout: bytes
    stderr: bytes
    logs: dict[str, bytes] = field(default_factory=dict)

    def events(self) -> list[Output | Start | Exit | Other]:
        """All workers' logs, decoded."""
        result: list[Output | Start | Exit | Other] = []
        for log in self.logs.values():
            decoder = Decoder()
            result += [*decoder.feed(log), *decoder.close()]
        return result

    def streams(self) -> dict[tuple[int, int], bytes]:
        """Each rank's streams: (rank, stream) -> bytes."""
        parts: dict[tuple[int, int], list[bytes]] = {}
        for event in self.events():
            if isinstance(event, Output):
                parts.setdefault((event.rank, event.stream), []).append(event.data)
        return {key: b"".join(value) for key, value in parts.items()}

    def out(self, rank: int) -> str:
        """Standard output of ``rank``."""
        return self.streams().get((rank, 1), b"").decode()

    def exits(self) -> dict[int, int]:
        """Exit code of each rank that ended."""
        return {event.rank: event.code for event in self.events() if isinstance(event, Exit)}


class RanksJob:
    """A job of ``ranks`` over ``workers``; ``start`` it, then ``finish`` it, or ``run`` for both."""

    def __init__(
        self,
        base: Path,
        command: Sequence[str],
        *,
        ranks: int,
        workers: int = 2,
        path: Iterable[str | Path] = (),
        environ: Mapping[str, str] | None = None,
        pod: Mapping[str, str] | None = None,
        worker_pod: Mapping[str, Mapping[str, str]] | None = None,
        context: Context | None = None,
        stdin: bool = False,
    ) -> None:
        self.base = base
        self.names = [f"w{index}" for index in range(workers)]
        context = context or capture(cwd=base)
        context.environ.update({os.fsencode(k): os.fsencode(v) for k, v in (environ or {}).items()})
        folders = [str(folder) for folder in path]
        old = os.fsdecode(context.environ.get(b"PATH", b"/bin:/usr/bin"))
        context.environ[b"PATH"] = os.fsencode(":".join([*folders, old]))
        secret = base / "context"
        secret.write_bytes(encode(context))
        slots = -(-ranks // workers)
        (base / "hosts").write_text("".join(f"{name} slots={slots}\n" for name in self.names))
        agent = base / "agent"
        agent.write_text(AGENT % {"base": base})
        agent.chmod(0o755)
        common = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/",
            "HORT_CONTEXT_FILE": str(secret),
            "HORT_ENTER": " ".join([*START, "enter", "--"]),
            "HORT_COLLECT": "1",
            "HORT_EXPECT_RANKS": str(ranks),
            "HORT_CPUS_PER_RANK": "1",
            "OMPI_MCA_btl": "^ofi",
            "OMPI_MCA_coll": "^han",
            "FI_PROVIDER": "tcp",
            **(dict.fromkeys(ROOT, "1") if os.geteuid() == 0 else {}),
            **({"HORT_STDIN": "1"} if stdin else {}),
            **(pod or {}),
        }
        for name in [*self.names, "launcher"]:
            (base / name / "run").mkdir(parents=True)
            own = {**common, **_session(base / name / "run"), **(worker_pod or {}).get(name, {})}
            lines = "".join(f"export {key}='{value}'\n" for key, value in own.items())
            (base / name / "env").write_text(lines)
        self.common = common
        self.worker_pod = worker_pod or {}
        self.command = list(command)
        self.collectors: dict[str, subprocess.Popen[bytes]] = {}
        self.launcher: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the workers' collectors and the launcher."""
        self.start_workers()
        self.start_launcher()

    def start_workers(self) -> None:
        """Start the workers' collectors."""
        for name in self.names:
            env = {
                **self.common,
                **self.worker_pod.get(name, {}),
                "HORT_RUN_DIR": str(self.base / name / "run"),
            }
            with (self.base / name / "log").open("wb") as log:
                self.collectors[name] = subprocess.Popen([*START, "collector"], stdout=log, env=env)

    def start_launcher(self) -> None:
        """Start the launcher."""
        env = {
            **self.common,
            **_session(self.base / "launcher" / "run"),
            "HOSTNAME": "launcher",
            "HORT_RUN_DIR": str(self.base / "launcher" / "run"),
            "PRTE_MCA_prte_default_hostfile": str(self.base / "hosts"),
            "PRTE_MCA_plm_ssh_agent": str(self.base / "agent"),
            "PRTE_MCA_prte_keep_fqdn_hostnames": "0",
            "OMPI_MCA_plm_rsh_agent": str(self.base / "agent"),
            "HYDRA_LAUNCHER": "rsh",
            "HYDRA_LAUNCHER_EXEC": str(self.base / "agent"),
            "I_MPI_HYDRA_BOOTSTRAP": "rsh",
            "I_MPI_HYDRA_BOOTSTRAP_EXEC": str(self.base / "agent"),
        }
        argv = [*START, "launch", "--", *self.command]
        out = (self.base / "launcher" / "out").open("wb")
        err = (self.base / "launcher" / "err").open("wb")
        with out, err:
            self.launcher = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env)

    def feed(self, data: bytes) -> None:
        """Give rank 0 its standard input, as `hort` does by exec in the first worker."""
        script = 'p=$HORT_RUN_DIR/stdin; mkfifo "$p" 2>/dev/null; exec cat >"$p"'
        run_dir = str(self.base / self.names[0] / "run")
        subprocess.run(["/bin/sh", "-c", script], input=data, env={"HORT_RUN_DIR": run_dir}, check=False)

    def wait_for(self, condition: Callable[[bytes], bool], *, seconds: float = 20) -> None:
        """Wait until all workers' logs together fulfil ``condition``."""
        logs = [self.base / name / "log" for name in self.names]
        self.wait_until(lambda: condition(b"".join(log.read_bytes() for log in logs)), seconds=seconds)

    def wait_until(self, condition: Callable[[], bool], *, seconds: float = 20) -> None:
        """Wait until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.01)

    def finish(self, *, timeout: float = 60, cleanup: bool = True) -> Outcome:
        """Wait for the launcher, then for the workers; ``cleanup`` ends those that go on, as the operator does."""
        assert self.launcher is not None
        try:
            code = self.launcher.wait(timeout)
            for collector in self.collectors.values():
                if cleanup:
                    try:
                        collector.wait(5)
                    except subprocess.TimeoutExpired:
                        collector.terminate()
                collector.wait(timeout)
        finally:
            for process in [self.launcher, *self.collectors.values()]:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return Outcome(
            code,
            (self.base / "launcher" / "out").read_bytes(),
            (self.base / "launcher" / "err").read_bytes(),
            {name: (self.base / name / "log").read_bytes() for name in self.names},
        )

    def run(self, *, timeout: float = 60) -> Outcome:
        """Start and finish."""
        self.start()
        return self.finish(timeout=timeout)


def _session(folder: Path) -> dict[str, str]:
    """Where MPI keeps its session files: a folder of each pod, as the operator sets it."""
    return {"PRTE_MCA_prte_tmpdir_base": str(folder), "OMPI_MCA_orte_tmpdir_base": str(folder)}
