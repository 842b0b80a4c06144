"""kill -9, again and again, while clients write: what was acknowledged or seen is there afterwards, and whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.small_disk import small_disk

SERVER = Path(__file__).with_name("crash_server.py")
GONE = None


@dataclass
class Known:
    """What must be true of the store: per name, the last acknowledged value and what was under way at the kill."""

    values: dict[str, int | None] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    #: What a client had begun and not heard of: it may have happened or not.
    trying: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    newest: int = 0
    begun: int = 0
    acknowledged: int = 0
    refused: int = 0
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)

    def hear(self, word: str, *rest: Any) -> None:
        """Take note of a line of the server."""
        if word == "try":
            client, verb, name, value = rest
            self.trying[client] = (verb, name, value)
        elif word == "done":
            client, verb, name, value, status, version = rest
            self.trying.pop(client)
            self.done(client, verb, name, value, status, version)
        elif word == "saw":
            kind, name, version = rest
            self.seen[name] = (kind, version)
            self.newest = max(self.newest, version)

    def done(self, client: int, verb: str, name: str, value: int, status: int, version: int) -> None:
        if status == 507:
            self.refused += 1
            return
        there = self.values.get(name, GONE) is not GONE
        if verb == "shared":
            assert status == 200
            self.keys[f"k{client}"] = str(value)
        elif verb == "POST":
            assert status == (409 if there else 201), (verb, name, status)
        else:
            assert status == (200 if there else 404), (verb, name, status)
        if status >= 300:
            return
        self.acknowledged += 1
        assert version == 0 or version > self.versions.get(name, 0)
        self.newest = max(self.newest, version)
        if version:
            self.versions[name] = version
        if verb != "shared":
            self.values[name] = GONE if verb == "DELETE" else value

    def check(self, found: dict[str, tuple[int, dict[str, str]]], revision: int) -> None:
        """Compare with what a new life found, and take that as known."""
        # A life that wrote nothing leaves no trace, so that the next may begin at the same version.
        assert revision > self.newest and revision >= self.begun, "versions went back"
        under_way = {name: (verb, value) for verb, name, value in self.trying.values() if verb != "shared"}
        for name in {*self.values, *found} - {"shared"}:
            was = self.values.get(name, GONE)
            version, data = found.get(name, (0, None))
            now = GONE if data is None else int(data["value"])
            if data is not None:
                assert data["witness"] == data["value"], "half an object"
                assert version <= revision
            if now == was:
                assert now is GONE or version == self.versions[name]
            else:
                assert name in under_way, (name, was, now)
                verb, value = under_way[name]
                assert now == (GONE if verb == "DELETE" else value), (name, verb, was, now)
            self.values[name] = now
            if version:
                self.versions[name] = version
        kept = found.get("shared", (0, {}))[1]
        trying = {
            f"k{client}": str(value) for client, (verb, _, value) in self.trying.items() if verb == "shared"
        }
        for key in {*self.keys, *kept}:
            assert kept.get(key) in (self.keys.get(key), trying.get(key, self.keys.get(key))), key
        self.keys = dict(kept)
        for name, (kind, version) in self.seen.items():  # a reader never saw what a kill could take back
            there = found.get(name, (0, None))[0]
            assert there >= version or kind == "DELETED" or under_way.get(name, ("",))[0] == "DELETE", name
        self.seen.clear()
        self.trying.clear()
        self.begun = revision


Lines = Iterator[list[Any]]


@contextmanager
def lives(path: Path, *, size: int, prefix: Sequence[str] = ()) -> Iterator[Callable[[], Lines]]:
    """Yield what begins the server's next life and returns its lines."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*prefix, sys.executable, str(SERVER), str(path), str(size)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        requests, lines = process.stdin, map(json.loads, process.stdout)

        def begin() -> Lines:
            requests.write("again\n")
            requests.flush()
            return lines

        yield begin


def one_life(lines: Lines, known: Known, until: Callable[[], bool]) -> None:
    """Kill the server at the first line at which it is time; read what it still had to say."""
    child, killed = 0, False
    found: dict[str, tuple[int, dict[str, str]]] = {}
    for word, *rest in lines:
        if word == "pid":
            (child,) = rest
        elif word == "found":
            name, version, data = rest
            found[name] = (version, data)
        elif word == "ready":
            known.check(found, rest[0])
        elif word == "end":
            assert killed, "the server ended by itself"
            return
        else:
            known.hear(word, *rest)
        if child and not killed and until():
            os.kill(child, signal.SIGKILL)
            killed = True
    pytest.fail("the server's program ended")


def test_kill_loses_nothing_that_was_acknowledged_or_seen(tmp_path: Path) -> None:
    known, chance = Known(), random.Random(7)
    with lives(tmp_path / "objects.db", size=1500) as begin:
        for _ in range(200):
            # A few are killed before they are ready.
            lines = iter(range(chance.choice((0, chance.randrange(400), chance.randrange(2000)))))
            one_life(begin(), known, lambda left=lines: next(left, None) is None)  # type: ignore[misc]
    assert known.acknowledged > 5000


def test_a_disk_that_fills_up_while_clients_write(tmp_path: Path) -> None:
    """Refused is refused, acknowledged is kept, and a kill of the server on its full disk changes nothing."""
    known = Known()
    with (
        small_disk(tmp_path / "disk", "24m") as disk,
        # Large objects, so that the file has to grow while there is no room.
        lives(disk.folder / "objects.db", size=20_000, prefix=disk.inside) as begin,
    ):

        def course() -> Iterator[bool]:
            """Fill the disk once some writes are acknowledged; end once some were refused."""
            before = known.acknowledged
            while known.acknowledged < before + 100:
                yield False
            disk.fill()
            before = known.refused
            while known.refused < before + 100:
                yield False

        for _ in range(3):
            disk.free()
            steps = course()
            one_life(begin(), known, lambda steps=steps: next(steps, True))  # type: ignore[misc]
        disk.free()
        one_life(begin(), known, lambda: known.trying != {})
    assert known.refused >= 300
