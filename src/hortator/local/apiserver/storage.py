"""The objects, as JSON bytes with a small header, and what happened to them lately.

Memory is the truth while the server runs. A write becomes visible to readers and watchers in the same step of the event
loop in which its journal group is known to be committed, never before; without a journal that is at once.
Which writes are allowed, and what an object means, is :mod:`.registry`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from hortator.local.apiserver.journal import Journal, JournalDamaged, JournalError, Row

__all__ = [
    "ADDED",
    "DELETED",
    "MODIFIED",
    "Collection",
    "Event",
    "Item",
    "Key",
    "Reader",
    "Stale",
    "Storage",
    "TooOld",
]

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"

#: How far each start jumps ahead, so that versions handed out before it are older than any history kept.
START_JUMP = 1000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Key(NamedTuple):
    """Where an object lives. ``resource`` is ``group/plural`` (``/pods``); ``namespace`` is empty for cluster scope."""

    resource: str
    namespace: str
    name: str


class Stale(Exception):
    """Raised when the object changed between being read and being written. ``current`` is what it is now."""

    def __init__(self, key: Key, current: Item | None) -> None:
        super().__init__(f"{key.resource} {key.namespace}/{key.name} has changed")
        self.key = key
        self.current = current


class TooOld(Exception):
    """Raised when a version is asked for that the kept history does not reach back to."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {revision} ({oldest})")
        self.revision = revision
        self.oldest = oldest


class Item:
    """One version of one object. Never changed after it was made; the bytes are shared by all who read it."""

    __slots__ = ("api_version", "data", "fields", "labels", "name", "namespace", "revision", "uid", "views")

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        uid: str,
        revision: int,
        api_version: str,
        labels: Mapping[str, str],
        fields: Mapping[str, str],
        data: bytes,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.revision = revision
        self.api_version = api_version
        self.labels = labels
        self.fields = fields
        self.data = data
        #: The same in other versions, kept by who made them.
        self.views: dict[object, Item] = {}

    def decode(self) -> dict[str, Any]:
        """Return the object as a fresh dict that the caller may change."""
        decoded: dict[str, Any] = _decode(self.data)
        return decoded


@dataclass(slots=True)
class Event:
    """One committed change. ``rendered`` keeps each encoding of it, so that all watchers share one."""

    kind: str
    revision: int
    item: Item
    previous: Item | None
    rendered: dict[object, bytes] = field(default_factory=dict)


class Reader(Protocol):
    """Who hears of each event of a collection, in order, in the step that makes it visible. Must not raise."""

    def offer(self, event: Event) -> None:
        """Take note of an event; returns at once."""


class Collection:
    """All objects of one resource, and its last events."""

    def __init__(self, resource: str, *, floor: int, history: int, history_bytes: int) -> None:
        self.resource = resource
        self.items: dict[tuple[str, str], Item] = {}
        self.readers: set[Reader] = set()
        self._events: deque[Event] = deque()
        self._event_bytes = 0
        self._history = history
        self._history_bytes = history_bytes
        self._order: list[tuple[str, str]] | None = []
        self._namespaces: dict[str, int] = {}
        #: Events up to and including this revision are no longer (or never were) kept.
        self.floor = floor

    def __len__(self) -> int:
        return len(self.items)

    def ordered(self, namespace: str = "") -> list[Item]:
        """Return the objects (of one namespace) in the order of namespace and name."""
        if self._order is None:
            self._order = sorted(self.items)
        items = self.items
        if not namespace:
            return [items[key] for key in self._order]
        return [items[key] for key in self._order if key[0] == namespace]

    def count(self, namespace: str) -> int:
        """Return how many objects a namespace has."""
        return self._namespaces.get(namespace, 0)

    def ordered_at(self, revision: int, namespace: str = "") -> list[Item]:
        """Return the objects as they were at a version. Raises :class:`TooOld`."""
        if revision < self.floor:
            raise TooOld(revision, self.floor)
        changed: dict[tuple[str, str], Item | None] = {}
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            changed[(event.item.namespace, event.item.name)] = event.previous
        if not changed:
            return self.ordered(namespace)
        then = {**self.items, **changed}
        return [
            item
            for key, item in sorted(then.items())
            if item is not None and (not namespace or key[0] == namespace)
        ]

    def events_since(self, revision: int) -> list[Event]:
        """Return the events after a version, oldest first. Raises :class:`TooOld`."""
        if revision < self.floor:
            raise TooOld(revision, self.floor)
        found: list[Event] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            found.append(event)
        found.reverse()
        return found

    def load(self, item: Item) -> None:
        """Take an object from the journal at the start: no event, no reader."""
        self.items[(item.namespace, item.name)] = item
        self._namespaces[item.namespace] = self._namespaces.get(item.namespace, 0) + 1
        self._order = None

    def describe(self, fields: Callable[[dict[str, Any]], Mapping[str, str]]) -> None:
        """Work out the selectable fields of every object anew."""
        for item in self.items.values():
            item.fields = fields(item.decode())

    def apply(self, event: Event) -> None:
        """Make a committed event visible."""
        item = event.item
        key = (item.namespace, item.name)
        if event.kind == DELETED:
            del self.items[key]
            self._order = None
            left = self._namespaces[item.namespace] - 1
            if left:
                self._namespaces[item.namespace] = left
            else:
                del self._namespaces[item.namespace]
        else:
            if event.kind == ADDED:
                self._order = None
                self._namespaces[item.namespace] = self._namespaces.get(item.namespace, 0) + 1
            self.items[key] = item
        self._events.append(event)
        self._event_bytes += len(item.data)
        while len(self._events) > self._history or self._event_bytes > self._history_bytes:
            old = self._events.popleft()
            self._event_bytes -= len(old.item.data)
            self.floor = old.revision
        for reader in tuple(self.readers):
            reader.offer(event)
        event.rendered.clear()  # shared by those who watch now; kept longer it would double the history


class Storage:
    """Every collection, one line of versions for all of them, and the journal behind."""

    def __init__(
        self, journal: Journal | None = None, *, history: int = 4096, history_bytes: int = 8 * 1024 * 1024
    ) -> None:
        self._journal = journal
        self._history = history
        self._history_bytes = history_bytes
        self._collections: dict[str, Collection] = {}
        self._pending: dict[Key, asyncio.Future[Item]] = {}
        saved = journal.revision if journal is not None else 0
        self._start = saved + START_JUMP
        #: The newest version that is visible.
        self.revision = self._start
        self._next = self._start

    @property
    def pending(self) -> int:
        """How many writes wait for their group."""
        return len(self._pending)

    def collection(self, resource: str) -> Collection:
        """Return a collection, made empty when it is first asked for."""
        found = self._collections.get(resource)
        if found is None:
            found = Collection(
                resource, floor=self._start, history=self._history, history_bytes=self._history_bytes
            )
            self._collections[resource] = found
        return found

    def collections(self) -> Iterable[Collection]:
        """Return every collection that was ever asked for or loaded."""
        return tuple(self._collections.values())

    def get(self, resource: str, namespace: str, name: str) -> Item | None:
        """Return the visible version of an object."""
        found = self._collections.get(resource)
        return None if found is None else found.items.get((namespace, name))

    def load(self, describe: Callable[[str, dict[str, Any]], Mapping[str, str]]) -> None:
        """Fill the memory from the journal, then start its writer. ``describe`` gives an object's selectable fields.

        Raises :class:`~.journal.JournalDamaged`.
        """
        if self._journal is None:
            return
        for row in self._journal.rows():
            if row.data is None:
                continue
            try:
                obj = _decode(row.data)
                metadata, api_version = obj["metadata"], obj["apiVersion"]
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                where = f"{row.resource} {row.namespace}/{row.name} cannot be read: {error}"
                raise JournalDamaged(self._journal.path, where) from error
            self.collection(row.resource).load(
                Item(
                    row.namespace,
                    row.name,
                    uid=metadata.get("uid", ""),
                    revision=row.revision,
                    api_version=api_version,
                    labels=metadata.get("labels") or {},
                    fields=describe(row.resource, obj),
                    data=row.data,
                )
            )
        self._journal.start()

    @staticmethod
    def preview(key: Key, obj: dict[str, Any], *, fields: Mapping[str, str]) -> Item:
        """Return the item that a write would store, without storing it (dry run)."""
        metadata = obj["metadata"]
        return Item(
            key.namespace,
            key.name,
            uid=metadata.get("uid", ""),
            revision=int(metadata.get("resourceVersion") or 0),
            api_version=obj["apiVersion"],
            labels=metadata.get("labels") or {},
            fields=fields,
            data=_encode(obj),
        )

    async def write(
        self,
        key: Key,
        obj: dict[str, Any],
        *,
        expected: Item | None,
        fields: Mapping[str, str],
        delete: bool = False,
    ) -> Item:
        """Write an object over ``expected`` (None: there must be none), and return it as it became visible.

        The object's ``metadata.resourceVersion`` is set here; ``obj`` itself is not changed. With ``delete`` it is the
        object's last state. Raises :class:`Stale` when the object is no longer ``expected``, and
        :class:`~.journal.JournalError` when the write could not be committed; then it is nowhere visible.
        """
        while (other := self._pending.get(key)) is not None:
            await asyncio.wait([other])
        collection = self.collection(key.resource)
        current = collection.items.get((key.namespace, key.name))
        if current is not expected:
            raise Stale(key, current)
        self._next += 1
        revision = self._next
        metadata = {**obj["metadata"], "resourceVersion": str(revision)}
        data = _encode({**obj, "metadata": metadata})
        item = Item(
            key.namespace,
            key.name,
            uid=metadata.get("uid", ""),
            revision=revision,
            api_version=obj["apiVersion"],
            labels=metadata.get("labels") or {},
            fields=fields,
            data=data,
        )
        kind = DELETED if delete else ADDED if expected is None else MODIFIED
        event = Event(kind, revision, item, expected)
        if self._journal is None:
            self._apply(collection, event)
            return item
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Item] = loop.create_future()
        self._pending[key] = future

        def settle(error: JournalError | None) -> None:
            del self._pending[key]
            if error is None:
                self._apply(collection, event)
            if future.cancelled():
                return
            if error is None:
                future.set_result(item)
            else:
                future.set_exception(error)
                future.exception()  # mark as seen: the writer may have been cancelled meanwhile

        def done(error: JournalError | None) -> None:
            loop.call_soon_threadsafe(settle, error)

        self._journal.submit(
            Row(key.resource, key.namespace, key.name, revision, None if delete else data), done
        )
        # Shielded: a client that goes away must not undo the bookkeeping of a write that is on its way to the disk.
        return await asyncio.shield(future)

    def end_watches(self) -> None:
        """Tell every reader that can be stopped to stop."""
        for collection in self._collections.values():
            for reader in tuple(collection.readers):
                stop = getattr(reader, "stop", None)
                if stop is not None:
                    stop()

    async def settled(self) -> None:
        """Return when no write is on its way to the journal any more."""
        while self._pending:
            await asyncio.wait(list(self._pending.values()))

    def close(self) -> None:
        """Commit what is on its way and close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _apply(self, collection: Collection, event: Event) -> None:
        self.revision = event.revision
        collection.apply(event)
