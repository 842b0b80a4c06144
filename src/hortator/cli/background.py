"""A local cluster as other processes see it: whether it runs, and starting one that outlives the command."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hortator.cli.errors import CommandError
from hortator.cli.places import LocalPlaces, private_dir

__all__ = ["Options", "read_state", "start_in_background"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a local cluster is made of. None means: what the machine has."""

    nodes: int = 1
    cpus: int | None = None
    memory: str | None = None
    gpus: int | None = None
    port: int | None = None


def read_state(places: LocalPlaces) -> dict[str, Any] | None:
    """Return what the running local cluster says of itself, or None when none is ready.

    A cluster holds the lock of its data folder while it lives, so a state file left behind by a kill is not believed.
    """
    import fcntl

    try:
        with places.lock_file.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                state: dict[str, Any] = json.loads(places.state_file.read_bytes())
                return state
            return None
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def start_in_background(places: LocalPlaces, options: Options | None = None) -> dict[str, Any]:
    """Start a cluster that outlives this process; return its state once it is ready.

    Raises what stopped the start, as the cluster's own process told it.
    """
    import subprocess

    options = options or Options()
    private_dir(places.data)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "hortator.cli.main", "up", "--data-dir", str(places.data)]
    command += ["--ready-fd", str(writing)]
    for flag, value in asdict(options).items():
        if value is not None:
            command += [f"--{flag}", str(value)]
    descriptor = os.open(places.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            pass_fds=[writing],
            start_new_session=True,
            cwd="/",
        )
    finally:
        os.close(writing)
        os.close(descriptor)
    with open(reading) as answers:
        # One line, not up to the end: the zygote holds the other side open too.
        text = answers.readline()
    if not text:
        code = process.wait()
        raise CommandError(
            "the local cluster did not start",
            cause=_last_line(places.log_file) or f"its process ended with {code}",
            hint=f"see {places.log_file}",
        )
    answer = json.loads(text)
    if "error" in answer:
        told = answer["error"]
        error = CommandError(told["what"], cause=told["cause"], hint=told["hint"])
        error.code = told["code"]
        raise error
    state: dict[str, Any] = answer["ready"]
    process.returncode = 0  # it is meant to outlive us: no warning that it still runs
    return state


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
