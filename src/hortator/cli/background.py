"""A local cluster as other processes see it: whether it runs, and starting one that outlives the command."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hortator.cli.errors import CommandError
from hortator.cli.places import LocalPlaces, held, private_dir, unwritable

__all__ = ["Options", "read_state", "start_in_background"]

#: How long a start that somebody else began may take.
_OTHER_SECONDS = 60


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
    if not _is_held(places):
        return None
    try:
        state: dict[str, Any] = json.loads(places.state_file.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state


def _is_held(places: LocalPlaces) -> bool:
    try:
        with places.lock_file.open("rb") as lock:
            return held(lock.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return False


def start_in_background(places: LocalPlaces, options: Options | None = None) -> dict[str, Any]:
    """Start a cluster that outlives this process; return its state once it is ready.

    Where somebody else starts one with the same folder at this moment, that one will do, unless ``options`` ask for
    something special. Raises what stopped the start, as the cluster's own process told it.
    """
    while True:
        answer = _start(places, options or Options())
        if "ready" in answer:
            state: dict[str, Any] = answer["ready"]
            return state
        if answer["in use"] and options in (None, Options()):
            other = _started_by_another(places)
            if other is not None:
                return other
            if not _is_held(places):
                continue  # it has ended meanwhile
        told = answer["error"]
        refusal = CommandError(told["what"], cause=told["cause"], hint=told["hint"])
        refusal.code = told["code"]
        raise refusal


def _started_by_another(places: LocalPlaces) -> dict[str, Any] | None:
    """Wait until whoever holds the data folder is ready; None when it ended instead, or is not ready in time."""
    end = time.monotonic() + _OTHER_SECONDS
    while (state := read_state(places)) is None and _is_held(places) and time.monotonic() < end:
        time.sleep(0.02)
    return state


def _start(places: LocalPlaces, options: Options) -> dict[str, Any]:
    """Start a process and return what it tells: ``ready`` with its state, or ``error``."""
    import subprocess

    private_dir(places.data)
    try:
        descriptor = os.open(places.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise unwritable(places.data, error) from error
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "hortator.cli.main", "up", "--data-dir", str(places.data)]
    command += ["--ready-fd", str(writing)]
    for flag, value in asdict(options).items():
        if value is not None:
            command += [f"--{flag}", str(value)]
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
    answer: dict[str, Any] = json.loads(text)
    if "ready" in answer:
        process.returncode = 0  # it is meant to outlive us: no warning that it still runs
    else:
        process.wait()
    return answer


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
