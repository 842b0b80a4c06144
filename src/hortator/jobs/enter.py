"""Start a program exactly as the caller of ``hort`` would have: its environment, directory, umask and limits.

Runs as ``python -I -S start.py enter [--stdin] [FILE] -- COMMAND...`` in a pod and replaces itself by the command. FILE is
what ``context.py`` encoded; without it ``$HORT_CONTEXT_FILE`` names it. Standard library only and few imports, because
it stands in front of every daemon that mpirun starts. What is in the context, and why, is ``context.py``'s.
"""

# ruff: noqa: PTH110, PTH118
# pathlib alone would double the start-up time.
from __future__ import annotations

import os

TYPE_CHECKING = False  # typing itself would cost more than all the rest
if TYPE_CHECKING:
    from typing import NoReturn

MAGIC = b"hort-context 1"
PACKED = b"hort-packed 1\n"

# What the pod knows better than the caller: our own names, and the place of a process in its MPI job. A caller who is
# inside another MPI job himself has stale ones, which would make the new ranks join the old job.
POD_PREFIXES = (b"HORT_",)
STALE_PREFIXES = (
    b"PMIX_",
    b"PMI_",
    b"OMPI_COMM_WORLD_",
    b"PRTE_LAUNCHED",
    b"MPI_LOCALRANKID",
    b"MPI_LOCALNRANKS",
)
STALE_KEPT = (b"PMIX_MCA_", b"PMIX_PREFIX", b"PMIX_INSTALL_PREFIX")
JOB_NAMES = frozenset(
    b"HORT_RUN_DIR HORT_CONTEXT_FILE HORT_ENTER HORT_JOB_ID HORT_RANK HORT_LOCAL_RANK HORT_RANKS HORT_WORKER HORT_NODE"
    b" HORT_CPUS HORT_STDIN HORT_COLLECT HORT_EXPECT_RANKS HORT_CPUS_PER_RANK HORT_GPUS_PER_RANK HORT_MPI HORT_ENV"
    b" HORT_ENV_UNSET HORT_API_SOCKET HORT_OVERSUBSCRIBED HORT_SERVICE_ACCOUNT_DIR".split()
)
# Added by whoever launches where the caller did not set them himself.
LAUNCH_PREFIXES = (
    b"PRTE_",
    b"OMPI_",
    b"PMIX_MCA_",
    b"HYDRA_",
    b"MPIEXEC_",
    b"MPICH_",
    b"I_MPI_",
    b"FI_",
    b"UCX_",
)
# How the workers are reached is never the caller's to say: his own value would send the ranks elsewhere. Nor where Open MPI
# keeps its session: it names the folder by process id, which each worker counts for itself.
REACH_NAMES = frozenset(
    b"PRTE_MCA_plm PRTE_MCA_plm_ssh_agent PRTE_MCA_plm_ssh_args PRTE_MCA_prte_default_hostfile PRTE_MCA_ras"
    b" PRTE_MCA_prte_keep_fqdn_hostnames OMPI_MCA_plm OMPI_MCA_plm_rsh_agent OMPI_MCA_plm_rsh_args OMPI_MCA_ras"
    b" OMPI_MCA_orte_default_hostfile OMPI_MCA_orte_keep_fqdn_hostnames HYDRA_LAUNCHER HYDRA_LAUNCHER_EXEC"
    b" HYDRA_LAUNCH_EXTRA_ARGS HYDRA_HOST_FILE HYDRA_RMK I_MPI_HYDRA_BOOTSTRAP I_MPI_HYDRA_BOOTSTRAP_EXEC"
    b" I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS I_MPI_HYDRA_HOST_FILE I_MPI_HYDRA_RMK PRTE_MCA_prte_tmpdir_base"
    b" OMPI_MCA_orte_tmpdir_base".split()
)
# A POSIX shell keeps only variables with plain names, and has ideas of its own about these: the wrapper gives them back.
SHELL_NAMES = frozenset(
    b"_ PWD OLDPWD SHLVL PPID IFS OPTIND OPTARG OPTERR PS1 PS2 PS4 LINENO UID EUID GROUPS RANDOM SECONDS ENV BASH_ENV"
    b" BASH BASHPID BASHOPTS SHELLOPTS HISTCMD FUNCNAME DIRSTACK POSIXLY_CORRECT FUNCNEST MAIL MAILPATH MAILCHECK".split()
)
ADDED = (b"_", b"PWD", b"OLDPWD", b"SHLVL", b"DYLD_LIBRARY_PATH")  # the last is mpirun's, on any system
MAX_STRING = (
    131072 - 16
)  # Linux: one string of an environment or argument list (MAX_ARG_STRLEN), less our name


class BadContext(Exception):
    """Raised when a context file is not one, or was written by another version; ``str`` says which."""


class Context:
    """What a context file says, as raw bytes; ``rlimits`` are soft limits by name (``NOFILE``), -1 for none.

    ``argv`` is empty unless the command could not be written into the job itself (see ``compile_local``).
    """

    __slots__ = ("argv", "cwd", "environ", "rlimits", "umask")

    def __init__(
        self,
        *,
        cwd: bytes,
        umask: int,
        rlimits: dict[str, int],
        environ: dict[bytes, bytes],
        argv: list[bytes],
    ) -> None:
        self.cwd = cwd
        self.umask = umask
        self.rlimits = rlimits
        self.environ = environ
        self.argv = argv


def parse(data: bytes) -> Context:
    """Read what ``context.encode`` wrote; raises :class:`BadContext`."""
    if data.startswith(PACKED):
        import zlib

        data = zlib.decompress(data[len(PACKED) :])
    fields = iter(data.split(b"\0"))
    first = next(fields)
    if first != MAGIC:
        raise BadContext(f"not a context of this version: begins with {first[:40]!r}")
    cwd, umask = b"/", 0o022
    rlimits: dict[str, int] = {}
    argv: list[bytes] = []
    environ: dict[bytes, bytes] = {}
    for field in fields:
        if not field:
            break
        key, _, value = field.partition(b"=")
        if key == b"cwd":
            cwd = value
        elif key == b"umask":
            umask = int(value, 8)
        elif key == b"arg":
            argv.append(value)
        elif key.startswith(b"rlimit "):
            rlimits[key[7:].decode()] = int(value)
        else:
            raise BadContext(f"unknown entry {key[:40]!r}")
    else:
        raise BadContext("cut short")
    for field in fields:
        key, equals, value = field.partition(b"=")
        if equals:
            environ[key] = value
    return Context(cwd=cwd, umask=umask, rlimits=rlimits, environ=environ, argv=argv)


def quote(word: bytes) -> bytes:
    """Quote one word for a POSIX shell."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def _plain(name: bytes) -> bool:
    return not name[:1].isdigit() and name.replace(b"_", b"a").isalnum()


def merged(caller: dict[bytes, bytes], pod: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the environment of a program in a job: the caller's, and what only the pod knows.

    The caller's variables come first and unchanged. ``HORT_ENV`` and ``HORT_ENV_UNSET`` hold what a shell in between
    would lose or add, for the rank wrapper to put right.
    """
    result = {}
    for name, value in caller.items():
        if name in JOB_NAMES:
            continue
        if name.startswith(STALE_PREFIXES) and not name.startswith(STALE_KEPT):
            continue
        result[name] = value
    for name, value in pod.items():
        if name.startswith(POD_PREFIXES) or name in REACH_NAMES:
            result[name] = value
        elif name.startswith(LAUNCH_PREFIXES) or (
            name == b"CUDA_VISIBLE_DEVICES" and b"HORT_GPUS_PER_RANK" in pod
        ):
            result.setdefault(name, value)
    if b"HORT_GPUS_PER_RANK" in pod and b"CUDA_VISIBLE_DEVICES" in pod:
        result[b"CUDA_VISIBLE_DEVICES"] = pod[b"CUDA_VISIBLE_DEVICES"]
    odd = [n + b"=" + v for n, v in caller.items() if n in result and (n in SHELL_NAMES or not _plain(n))]
    unset = [n for n in ADDED if n not in caller]
    if odd:
        result[b"HORT_ENV"] = b" ".join(quote(entry) for entry in odd)
        if len(result[b"HORT_ENV"]) > MAX_STRING:
            raise BadContext("shell functions and other oddly named variables of more than 128 KiB in all")
    if unset:
        result[b"HORT_ENV_UNSET"] = b" ".join(b"-u " + name for name in unset)
    return result


def apply(context: Context) -> None:
    """Change directory, umask and soft limits of this process to the caller's.

    A limit above what is allowed here is set as high as allowed. Raises ``OSError`` when the directory is gone.
    """
    import resource

    for name, soft in context.rlimits.items():
        kind = getattr(resource, "RLIMIT_" + name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
            soft = hard
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):  # macOS refuses some values that it reports itself
            continue
    os.chdir(context.cwd)
    os.umask(context.umask)


def enter(file: str) -> tuple[Context, dict[bytes, bytes]]:
    """Apply the context in ``file`` to this process; return it and the environment for its programs."""
    with open(file, "rb") as stream:
        context = parse(stream.read())
    environ = merged(context.environ, dict(os.environb))
    apply(context)
    return context, environ


def execute(argv: list[bytes], environ: dict[bytes, bytes]) -> str:
    """Become ``argv`` as a shell would start it; returns only on failure, with the reason."""
    try:
        os.execvpe(argv[0], argv, environ)  # noqa: S606
    except OSError as error:
        if error.errno == 8:  # ENOEXEC: a script without #!, which execvp(3) gives to the shell
            path = next(
                (
                    os.path.join(folder, argv[0])
                    for folder in [b""] * (b"/" in argv[0]) + environ.get(b"PATH", b"").split(b":")
                    if os.access(os.path.join(folder, argv[0]), os.X_OK)
                ),
                argv[0],
            )
            os.execve("/bin/sh", [b"sh", path, *argv[1:]], environ)  # noqa: S606
        return f"{os.fsdecode(argv[0])}: {os.strerror(error.errno or 0)}"


def die(message: str, code: int) -> NoReturn:
    """Say why, and exit with ``code``."""
    os.write(2, f"hort: {message}\n".encode(errors="surrogateescape"))
    os._exit(code)


def main(arguments: list[str]) -> None:
    """Entry point; see the module's docstring. Exit codes: 125 bad context, 126 cannot run, 127 not found."""
    try:
        split = arguments.index("--")
    except ValueError:
        die("usage: enter [--stdin] [FILE] -- COMMAND...", 125)
    options = arguments[:split]
    from_fifo = "--stdin" in options
    files = [word for word in options if not word.startswith("--")]
    file = files[0] if files else os.environ.get("HORT_CONTEXT_FILE", "")
    try:
        context, environ = enter(file)
        if from_fifo:
            take_stdin(os.environ["HORT_RUN_DIR"])
    except (OSError, BadContext, ValueError) as error:
        die(f"cannot take over the caller's surroundings: {error}", 125)
    argv = [os.fsencode(word) for word in arguments[split + 1 :]] or context.argv
    if not argv:
        die("no command", 125)
    for name in (b"HORT_ENV", b"HORT_ENV_UNSET"):
        if from_fifo or b"HORT_EXPECT_RANKS" not in environ:
            environ.pop(name, None)
    reason = execute(argv, environ)
    missing = reason.endswith(os.strerror(2))
    die(f"cannot run {reason}", 127 if missing else 126)


def take_stdin(run_dir: str) -> None:
    """Read standard input from the FIFO that ``hort`` writes to; waits for it to be opened."""
    path = run_dir + "/stdin"
    if not os.path.exists(path):
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:  # hort was quicker
            if not os.path.exists(path):
                raise
    fd = os.open(path, os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)
