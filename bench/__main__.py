"""Print the figures that the documentation claims, each measured here and now, peers beside ours in the same run.

``python -m bench [ROW …]`` runs all rows or the named ones: ``startup``, ``up``, ``idle``, ``launch``, ``compute``. Timings
of one run are comparable with each other, not with another machine's. ``HORT_BENCH_SECONDS`` shortens the compute row
(default 60), ``HORT_BENCH_TURNS`` says how often it measures (default 3).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
SECONDS = float(os.environ.get("HORT_BENCH_SECONDS", "60"))
TURNS = int(os.environ.get("HORT_BENCH_TURNS", "3"))

#: The settings that hort gives mpirun on one machine; a bare mpirun gets the same in the same run.
SAME_SETTINGS = {
    "OMPI_MCA_btl": "^ofi",
    "OMPI_MCA_coll": "^han",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
} | (
    {
        name: "1"
        for family in ("PRTE", "OMPI")
        for name in (f"{family}_ALLOW_RUN_AS_ROOT", f"{family}_ALLOW_RUN_AS_ROOT_CONFIRM")
    }
    if os.getuid() == 0
    else {}
)

HELLO = """
from mpi4py import MPI
comm = MPI.COMM_WORLD
total = comm.allreduce(comm.rank)
assert total == comm.size * (comm.size - 1) // 2
"""

#: Does so many steps of arithmetic; prints how long that took on the wall, and for how long of it the rank that was
#: worst off had work and no CPU (/proc/self/schedstat), both in seconds.
SPIN = """
import sys, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
def waited():
    return int(open("/proc/self/schedstat").read().split()[1]) / 1e9
steps = int(sys.argv[1])
comm.Barrier()
began, delay = time.perf_counter(), waited()
x = 1.0
for _ in range(steps):
    x = x * 1.0000001 + 1e-9
delay = comm.reduce(waited() - delay, MPI.MAX)
if comm.rank == 0:
    print(time.perf_counter() - began, delay)
"""


class Bench:
    """A cluster of the bench's own in a folder that goes afterwards."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("HORT_", "OMPI_", "PRTE_"))}
        self.env |= {"HORT_DATA_DIR": str(home / "data"), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def hort(self, *words: str) -> list[str]:
        """Return the command line of ``hort WORDS``."""
        return [str(BIN / "hort"), *words]

    def run(self, command: Sequence[str], *, same_settings: bool = False) -> tuple[float, str]:
        """Run to the end; return wall seconds and standard output. Raises when it fails."""
        env = self.env | (SAME_SETTINGS if same_settings else {})
        began = time.perf_counter()
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        wall = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return wall, done.stdout

    def median(self, command: Sequence[str], runs: int = 7, *, same_settings: bool = False) -> float:
        """Return the median wall time after one warm-up."""
        self.run(command, same_settings=same_settings)
        return statistics.median(self.run(command, same_settings=same_settings)[0] for _ in range(runs))


def row(
    what: str, ours: float, peer: tuple[str, float] | None = None, *, unit: str = "ms", claim: str = ""
) -> None:
    """Print one line of the table."""
    beside = f"{peer[0]} {peer[1]:9.1f} {unit}   ratio {ours / peer[1]:5.2f}" if peer else ""
    print(f"{what:<44} {ours:9.1f} {unit:<4} {beside:<44} {claim}".rstrip(), flush=True)


def startup(bench: Bench) -> None:
    """How long commands take that only print."""
    python = ("python -c pass", 1000 * bench.median([sys.executable, "-c", "pass"]))
    row("hort --help", 1000 * bench.median(bench.hort("--help")), python, claim="≤ 80")
    bench.run(bench.hort("up", "-d"))
    jobs = 1000 * bench.median(bench.hort("jobs"))
    row("hort jobs", jobs, python, claim="≤ 150")
    kubectl = shutil.which("kubectl", path=f"{os.environ.get('HORT_TOOLS', '')}:{bench.env['PATH']}")
    if kubectl:
        path = bench.run(bench.hort("kubeconfig", "--path"))[1].strip()
        kube = 1000 * bench.median([kubectl, "--kubeconfig", path, "get", "mpijobs"])
        row("hort jobs", jobs, ("kubectl get mpijobs", kube))
    bench.run(bench.hort("down"))


def up(bench: Bench) -> None:
    """From the command to a cluster that is ready."""
    times = []
    for _ in range(5):
        times.append(bench.run(bench.hort("up", "-d"))[0])
        bench.run(bench.hort("down"))
    row("hort up -d, to ready", 1000 * statistics.median(times), claim="≤ 800")


def idle(bench: Bench) -> None:
    """What a cluster without jobs uses: memory of all its processes (shared pages counted once), CPU."""
    bench.run(bench.hort("up", "-d"))
    pid = int(bench.run(bench.hort("status", "-o", "json"))[1].split('"pid":')[1].split(",")[0])
    time.sleep(3)  # the start's own work is not idling
    before = _cpu_seconds(pid)
    time.sleep(20)
    share = (_cpu_seconds(pid) - before) / 20
    row("idle memory", sum(_memory_mb(each) for each in _tree(pid)), unit="MB", claim="≤ 100")
    row("idle CPU", 100 * share, unit="%", claim="< 1")
    bench.run(bench.hort("down"))


def launch(bench: Bench) -> None:
    """Command typed → prompt back, over a bare mpirun with the same settings."""
    program = bench.home / "hello.py"
    program.write_text(HELLO)
    bench.run(bench.hort("up", "-d"))
    mpirun = [str(BIN / "mpirun"), "--oversubscribe", "-n", "4", sys.executable, str(program)]
    ours, bare, plain = [], [], []
    for _ in range(8):
        ours.append(bench.run(bench.hort("run", "-n", "4", "--", sys.executable, str(program)))[0])
        bare.append(bench.run(mpirun, same_settings=True)[0])
        plain.append(bench.run(mpirun, same_settings=False)[0] if os.getuid() else 0.0)
    mine, same = 1000 * statistics.median(ours[1:]), 1000 * statistics.median(bare[1:])
    row("hort run -n 4 hello", mine, ("mpirun, same settings", same))
    row("  of which over mpirun", mine - same, claim="≤ 400")
    if os.getuid():
        row("hort run -n 4 hello", mine, ("mpirun as it comes", 1000 * statistics.median(plain[1:])))
    bench.run(bench.hort("down"))


@dataclass(frozen=True)
class Spun:
    """What a CPU-bound job took: seconds on the wall, and seconds of them for which its worst rank lacked a CPU."""

    wall: float
    lacked: float

    @classmethod
    def parse(cls, printed: str) -> Spun:
        """Read what the program printed."""
        return cls(*(float(word) for word in printed.split()))


def compute(bench: Bench) -> None:
    """A CPU-bound job inside against outside: one worker, two workers, two half-machine jobs at once.

    The machine's own speed drifts by more than what is looked for, so inside and outside take turns and the median of
    the turns' ratios counts. What sharing CPUs would cost is seen without the clock: the time for which ranks lacked a CPU.
    """
    program = bench.home / "spin.py"
    program.write_text(SPIN)
    cpus = len(os.sched_getaffinity(0))
    bench.run(bench.hort("up", "-d"))

    def bare(ranks: int, steps: int) -> Spun:
        command = [str(BIN / "mpirun"), "-n", str(ranks), sys.executable, str(program), str(steps)]
        return Spun.parse(bench.run(command, same_settings=True)[1])

    def inside(ranks: int, steps: int, *flags: str) -> Spun:
        command = bench.hort("run", "-n", str(ranks), *flags, "--", sys.executable, str(program), str(steps))
        return Spun.parse(bench.run(command)[1])

    trial = 5_000_000
    steps = int(trial * SECONDS / bare(cpus, trial).wall)
    halves = bench.hort("run", "-n", str(max(1, cpus // 2)), "--", sys.executable, str(program), str(steps))

    def two_at_once() -> Spun:
        jobs = [
            subprocess.Popen(
                halves, env=bench.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
            )
            for _ in range(2)
        ]
        both = [Spun.parse(job.communicate()[0]) for job in jobs]
        return Spun(max(each.wall for each in both), max(each.lacked for each in both))

    measures: dict[str, Callable[[], Spun]] = {
        f"{cpus} ranks on one worker": lambda: inside(cpus, steps),
        f"{cpus} ranks on two workers": lambda: inside(cpus, steps, "--workers", "2"),
        "two half-machine jobs at once, the slower": two_at_once,
    }
    outside = [bare(cpus, steps)]
    seen: dict[str, list[tuple[Spun, float]]] = {name: [] for name in measures}
    for _ in range(TURNS):
        for name, measure in measures.items():
            spun = measure()
            outside.append(bare(cpus, steps))
            # Between two runs outside, so that a drift counts half on either side.
            seen[name].append((spun, (outside[-2].wall + outside[-1].wall) / 2))
    lacked = 100 * statistics.median(each.lacked / each.wall for each in outside)
    for name, turns in seen.items():
        ratios = sorted(spun.wall / beside for spun, beside in turns)
        wall, beside = (
            statistics.median(each) for each in zip(*((s.wall, b) for s, b in turns), strict=True)
        )
        row(name, wall, ("mpirun", beside), unit="s", claim="ratio < 1.02")
        print(f"    ratios of the turns {' '.join(f'{ratio:.2f}' for ratio in ratios)}")
        mine = 100 * statistics.median(spun.lacked / spun.wall for spun, _ in turns)
        row("    time in which a rank lacked a CPU", mine, ("mpirun", lacked), unit="%", claim="< 2 more")
    bench.run(bench.hort("down"))


def _tree(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for task in Path(f"/proc/{found[-1]}/task").iterdir():
            waiting += [int(child) for child in (task / "children").read_text().split()]
    return found


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu_seconds(pid: int) -> float:
    total = 0.0
    for each in _tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


ROWS: dict[str, Callable[[Bench], None]] = {
    "startup": startup,
    "up": up,
    "idle": idle,
    "launch": launch,
    "compute": compute,
}


def main(names: Sequence[str]) -> int:
    """Run the rows."""
    if unknown := [name for name in names if name not in ROWS]:
        print(f"no row {unknown[0]}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="hort-bench-") as folder:
        bench = Bench(Path(folder))
        for name in names or ROWS:
            try:
                ROWS[name](bench)
            finally:
                subprocess.run(bench.hort("down"), env=bench.env, capture_output=True, check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
