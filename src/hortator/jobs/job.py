"""The job that a user asks for, as one frozen value, checked at the door.

It knows of no engine: ``layout.py`` decides how its ranks lie on nodes, ``compile_local.py`` writes Kubernetes objects.
"""

from __future__ import annotations

from dataclasses import dataclass

from hortator.jobs.context import Context
from hortator.jobs.naming import check_name

__all__ = ["InvalidJob", "Job"]

MAX_RANKS = 100_000


class InvalidJob(ValueError):
    """Raised when a job cannot be asked for like this; ``flag`` is the command line's, ``str`` names it."""

    def __init__(self, flag: str, reason: str) -> None:
        super().__init__(f"{flag}: {reason}")
        self.flag = flag
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job. Raises :class:`InvalidJob` when made of values that cannot be.

    With ``ranks`` it runs under mpirun, without it as a plain process. ``command`` holds words as ``sys.argv`` has them
    (bytes that are not UTF-8 as surrogates).
    """

    name: str
    command: tuple[str, ...]
    context: Context
    ranks: int | None = None
    #: Pods over which the ranks spread; None: as few as the nodes allow.
    workers: int | None = None
    cpus_per_rank: int = 1
    #: Bytes for each worker; None: no request, no limit.
    memory: int | None = None
    gpus_per_rank: int = 0
    #: Seconds.
    time_limit: int | None = None
    oversubscribe: bool = True
    #: Standard input will come from ``hort``.
    stdin: bool = False
    #: The mpirun (or its prefix) that the user asked for.
    mpi: str | None = None

    def __post_init__(self) -> None:
        wrong = check_name(self.name)
        if wrong:
            raise InvalidJob("--name", wrong)
        if not self.command or not self.command[0]:
            raise InvalidJob("COMMAND", "no command given: hort run [-n RANKS] -- COMMAND...")
        if any("\0" in word for word in self.command):
            raise InvalidJob("COMMAND", "a NUL character in an argument")
        if self.ranks is not None and not 1 <= self.ranks <= MAX_RANKS:
            raise InvalidJob("-n", f"{self.ranks} ranks: must be from 1 to {MAX_RANKS}")
        if self.cpus_per_rank < 1:
            raise InvalidJob("-c", f"{self.cpus_per_rank} CPUs per rank: must be at least 1")
        if self.gpus_per_rank < 0:
            raise InvalidJob("--gpus-per-rank", f"{self.gpus_per_rank}: must not be negative")
        if self.workers is not None:
            if self.ranks is None:
                raise InvalidJob("--workers", "needs -n: only ranks are spread over workers")
            if not 1 <= self.workers <= self.ranks:
                raise InvalidJob(
                    "--workers",
                    f"{self.workers} workers for {self.ranks} ranks: must be from 1 to {self.ranks}",
                )
        if self.memory is not None and self.memory < 1:
            raise InvalidJob("--mem", "must be more than nothing")
        if self.time_limit is not None and self.time_limit < 1:
            raise InvalidJob("-t", "a time limit is at least one second")
        if self.mpi is not None and self.ranks is None:
            raise InvalidJob("--mpi", "needs -n: without ranks there is no mpirun")
