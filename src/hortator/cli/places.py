"""Where things lie on a person's machine (XDG base directories), and how owner-only folders and files are made.

| what | where |
|---|---|
| settings | ``$XDG_CONFIG_HOME/hort`` (``~/.config/hort``) |
| the local cluster: journal, pods, logs | ``$HORT_DATA_DIR``, else ``$XDG_STATE_HOME/hort/local`` |
| its socket | ``$XDG_RUNTIME_DIR/hort/…``, else ``/tmp/hort-UID/…`` |
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from hortator.cli.errors import CommandError

__all__ = [
    "LocalPlaces",
    "config_dir",
    "held",
    "hold",
    "local_places",
    "private_dir",
    "unwritable",
    "write_private",
]


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification says that relative paths are to be ignored.
    return Path(value) if value.startswith("/") else Path.home() / fallback


def config_dir() -> Path:
    """Return the folder of the person's settings (not made here)."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "hort"


@dataclass(frozen=True, slots=True)
class LocalPlaces:
    """The folders of one local cluster."""

    data: Path
    run: Path

    @property
    def socket(self) -> Path:
        """The API server's Unix socket."""
        return self.run / "api.sock"

    @property
    def state_file(self) -> Path:
        """What the running cluster says of itself (JSON, owner-only)."""
        return self.data / "cluster.json"

    @property
    def lock_file(self) -> Path:
        """Held by the running cluster (:func:`hold`)."""
        return self.data / "lock"

    @property
    def token_file(self) -> Path:
        """The owner's token."""
        return self.data / "token"

    @property
    def log_file(self) -> Path:
        """What a cluster in the background prints."""
        return self.data / "cluster.log"


def local_places(data_dir: str | os.PathLike[str] | None = None) -> LocalPlaces:
    """Return the folders of the local cluster that ``--data-dir`` or ``HORT_DATA_DIR`` names, or of the usual one.

    Nothing is made. Each data folder has a run folder of its own, so that several clusters of one person do not meet.
    """
    usual = _xdg("XDG_STATE_HOME", ".local/state") / "hort" / "local"
    chosen = data_dir or os.environ.get("HORT_DATA_DIR") or ""
    data = Path(os.path.abspath(Path(chosen).expanduser())) if chosen else usual
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and os.access(runtime, os.W_OK) and len(runtime) < 60:
        base = Path(runtime) / "hort"
    else:
        base = Path(f"/tmp/hort-{os.getuid()}")  # noqa: S108 - private_dir refuses one that is not ours
    return LocalPlaces(data=data, run=base / digest)


def private_dir(path: Path) -> Path:
    """Make a folder that only its owner may enter, and return it.

    Raises :class:`CommandError` when it cannot be made, is a link, or belongs to somebody else.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.lstat()
    except OSError as error:
        raise CommandError(
            f"cannot make the folder {path}",
            cause=error.strerror or str(error),
            hint="name another with --data-dir or HORT_DATA_DIR",
        ) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise CommandError(f"{path} is not a folder of yours", cause=f"it belongs to uid {facts.st_uid}")
    if stat.S_IMODE(facts.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def hold(descriptor: int) -> None:
    """Lock an open file for as long as it is open. Raises :class:`BlockingIOError` when another process has it."""
    import fcntl

    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_WRLCK))


def held(descriptor: int) -> bool:
    """Return whether another process holds an open file. Asking takes no lock that could be in somebody's way."""
    import fcntl

    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))
    return int.from_bytes(answer[:2], sys.byteorder) != fcntl.F_UNLCK


def _whole_file(kind: int) -> bytes:
    """Return a ``struct flock`` of Linux: type, whence, start, length (0: to the end), pid (0 for locks of this kind)."""
    import struct

    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)


def unwritable(folder: Path, error: OSError) -> CommandError:
    """Return what to say when a data folder cannot be written to."""
    room = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return CommandError(
        f"cannot write to the data folder {folder}",
        cause=error.strerror or str(error),
        hint="make room there, or name another with --data-dir" if room else "name another with --data-dir",
    )


def write_private(path: Path, data: bytes) -> None:
    """Replace a file by one that only its owner can read; readers see the old or the new whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
