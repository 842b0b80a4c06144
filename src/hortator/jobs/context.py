"""The caller's surroundings as one file, so that a job's programs start as if the caller had started them.

Environment (byte for byte, whatever it holds), working directory, umask and soft resource limits. ``enter.py`` reads the
file inside the job. The format is a list of entries ended by NUL, as the kernel's own: a version, ``key=value`` entries,
an empty entry, then the environment. It is secret: environments hold tokens.
"""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Sequence
from pathlib import Path

from .enter import MAGIC, PACKED, Context, parse

__all__ = ["MAX_BYTES", "Context", "ContextTooLarge", "capture", "decode", "encode"]

#: A Secret holds 1 MiB in all; some of it is ours and names'.
MAX_BYTES = 1_000_000
PACK_ABOVE = 64 * 1024

LIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "RSS", "STACK")


class ContextTooLarge(Exception):
    """Raised when an environment does not fit into a Secret even when packed; carries ``size`` in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the environment is too large for a job: {size} bytes packed, {MAX_BYTES} allowed. "
            "Unset what the program does not need (`env | sort | awk '{print length, $0}' | sort -n`)"
        )
        self.size = size


def capture(*, cwd: str | os.PathLike[str] | None = None) -> Context:
    """Take this process's own surroundings.

    The environment is the one this process was *started* with where the system shows it: Python itself adds
    ``LC_CTYPE`` in some locales (PEP 538). Raises ``OSError`` when the working directory is gone.
    """
    try:
        block = Path("/proc/self/environ").read_bytes()
        pairs = (entry.partition(b"=") for entry in block.split(b"\0"))
        environ = {name: value for name, equals, value in pairs if equals}
    except OSError:
        environ = dict(os.environb)
    umask = os.umask(0o077)
    os.umask(umask)
    rlimits = {}
    for name in LIMITS:
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is not None:
            rlimits[name] = resource.getrlimit(kind)[0]
    return Context(
        cwd=os.fsencode(cwd) if cwd is not None else os.fsencode(Path.cwd()),
        umask=umask,
        rlimits=rlimits,
        environ=environ,
        argv=[],
    )


def encode(context: Context, argv: Sequence[bytes] = ()) -> bytes:
    """Write ``context`` (and ``argv``, for a command that is not UTF-8) as one file.

    Raises :class:`ContextTooLarge`, and ``ValueError`` for an entry that holds a NUL.
    """
    entries = [MAGIC, b"cwd=" + context.cwd, b"umask=%o" % context.umask]
    entries += [b"rlimit %s=%d" % (name.encode(), soft) for name, soft in context.rlimits.items()]
    entries += [b"arg=" + word for word in argv]
    entries.append(b"")
    entries += [name + b"=" + value for name, value in context.environ.items()]
    if any(b"\0" in entry for entry in entries):
        raise ValueError("a NUL byte in the environment or arguments")
    data = b"\0".join(entries)
    if len(data) > PACK_ABOVE:
        data = PACKED + zlib.compress(data)
        if len(data) > MAX_BYTES:
            raise ContextTooLarge(len(data))
    return data


def decode(data: bytes) -> Context:
    """Read what :func:`encode` wrote; raises ``enter.BadContext``."""
    return parse(data)
