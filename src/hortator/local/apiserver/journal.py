"""The SQLite file that lets the store survive its process: one writer thread, groups of writes in one transaction.

The journal knows rows, not objects: what a row means, and that nothing is shown before it is committed, is
:mod:`.storage`'s. With ``synchronous=NORMAL`` a committed group survives the death of the process at any moment; a loss
of power may lose the last moments, never the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

__all__ = [
    "SCHEMA_VERSION",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalInUse",
    "JournalNewer",
    "JournalNotWritable",
    "Row",
]

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x686F7274  # "hort"
_GROUP_LIMIT = 512


class JournalError(Exception):
    """A journal that cannot be used; ``str`` says what is wrong with which file and what to do about it."""

    def __init__(self, path: Path, problem: str, advice: str) -> None:
        super().__init__(f"{path}: {problem}. {advice}")
        self.path = path
        self.problem = problem
        self.advice = advice


class JournalDamaged(JournalError):
    """Raised when the file is not a journal of ours, or its content is broken. It is left as it is."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            path,
            f"the cluster's data is damaged ({problem})",
            "It was not touched. Move the data folder away to start empty, or restore it from a backup.",
        )


class JournalNewer(JournalError):
    """Raised when a later version of the program wrote the file. It is left as it is."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            path,
            f"the cluster's data has format {version}, and this program reads formats up to {SCHEMA_VERSION}",
            "Use the newer program, or another data folder.",
        )


class JournalNotWritable(JournalError):
    """Raised when the file cannot be created, opened or written."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            path,
            f"the cluster's data cannot be written ({problem})",
            "Make room or give yourself permission to write there, or choose another data folder.",
        )


class JournalInUse(JournalError):
    """Raised when another process has the file open."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "another process uses the cluster's data",
            "Stop that cluster first, or choose another data folder.",
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One change: ``data`` None removes the object."""

    resource: str
    namespace: str
    name: str
    revision: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _Work:
    row: Row
    done: Callable[[JournalError | None], None]


class Journal:
    """An open journal. All methods but :meth:`submit` are called from one thread.

    Opening raises a :class:`JournalError` and changes nothing when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection = _open(path)

    @property
    def revision(self) -> int:
        """The newest resource version that was ever committed to the file (0 for a new one)."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
        return int(row[0]) if row else 0

    def rows(self) -> Iterator[Row]:
        """Yield every live object, in no order. Only before :meth:`start`. Raises :class:`JournalDamaged`."""
        try:
            for found in self._connection.execute(
                "SELECT resource, namespace, name, revision, data FROM objects"
            ):
                yield Row(*found)
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(self.path, str(error)) from error

    def start(self) -> None:
        """Start the writer thread."""
        self._thread = threading.Thread(target=self._write_groups, name="journal", daemon=True)
        self._thread.start()

    def submit(self, row: Row, done: Callable[[JournalError | None], None]) -> None:
        """Queue a change. ``done(None)`` or ``done(error)`` is called from the writer thread, in order."""
        self._queue.put(_Work(row, done))

    def close(self) -> None:
        """Commit what was submitted, stop the thread and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            with contextlib.suppress(
                sqlite3.Error
            ):  # a full disk: the write-ahead log is read at the next start
                self._connection.execute("PRAGMA optimize")
                self._connection.execute("PRAGMA incremental_vacuum")
        self._connection.close()

    def _write_groups(self) -> None:
        while True:
            work = self._queue.get()
            if work is None:
                return
            group = [work]
            last = False
            while len(group) < _GROUP_LIMIT and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    last = True
                    break
                group.append(more)
            error = self._write([item.row for item in group])
            for item in group:
                item.done(error)
            if last:
                return

    def _write(self, rows: Sequence[Row]) -> JournalError | None:
        """Commit one group. A group that fails leaves no trace."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for row in rows:
                if row.data is None:
                    connection.execute(
                        "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
                        (row.resource, row.namespace, row.name),
                    )
                else:
                    connection.execute(
                        "INSERT INTO objects (resource, namespace, name, revision, data) VALUES (?, ?, ?, ?, ?) "
                        "ON CONFLICT (resource, namespace, name) "
                        "DO UPDATE SET revision = excluded.revision, data = excluded.data",
                        (row.resource, row.namespace, row.name, row.revision, row.data),
                    )
            connection.execute(
                "INSERT INTO meta (name, value) VALUES ('revision', ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (max(row.revision for row in rows),),
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                connection.execute("ROLLBACK")
            problem = JournalNotWritable(self.path, str(error))
            problem.__cause__ = error
            return problem
        return None


def _open(path: Path) -> sqlite3.Connection:
    existed = path.exists()
    try:
        if not existed:
            # Created by hand first, so that the data is never readable by others, not even for a moment.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        elif not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(13, "Permission denied")
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    except OSError as error:
        raise JournalNotWritable(path, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise JournalNotWritable(path, str(error)) from error
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if existed and path.stat().st_size > 0:
            _check(connection, path)
        _prepare(connection)
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise JournalInUse(path) from error
        raise JournalNotWritable(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise JournalDamaged(path, str(error)) from error
    except JournalError:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not ours before anything is written to it."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application == 0 and version == 0:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            return  # the process died between creating the file and its first commit
        raise JournalDamaged(path, "the file belongs to another program")
    if application != _APPLICATION_ID:
        raise JournalDamaged(path, "the file belongs to another program")
    if version > SCHEMA_VERSION:
        raise JournalNewer(path, version)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise JournalDamaged(path, str(found).splitlines()[-1])


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value NOT NULL)")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS objects (resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, "
        "revision INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (resource, namespace, name))"
    )
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
