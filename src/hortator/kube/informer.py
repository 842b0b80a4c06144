"""A local, always current copy of some objects of an API, and word of every change to them.

It trusts no connection: every watch has an end, silence counts as death, and what was missed is found by
comparing a new list with the copy. What to do about a change is a controller's (``manager``).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

import msgspec

from hortator.apimachinery.selectors import LabelSelector
from hortator.kube.client import Client
from hortator.kube.errors import ApiError, Expired, InvalidAnswer, Unavailable
from hortator.kube.resources import Resource

__all__ = ["ChangeKind", "Informer", "InformerStatistics"]

T = TypeVar("T")
ChangeKind = Literal["added", "modified", "deleted"]
Callback = Callable[[ChangeKind, T, T | None], None]
Key = tuple[str, str]

_log = logging.getLogger(__name__)

_PAGE = 500
#: Seconds: a real server sends a bookmark every minute.
_SILENCE = 70.0
_FIRST_DELAY = 0.1
_MAX_DELAY = 30.0
#: A watch that ends sooner, without a single event, is no progress (seconds).
_SHORT = 1.0


class InformerStatistics(NamedTuple):
    """An informer at one moment."""

    objects: int
    synced: bool
    #: How far the copy has come.
    resource_version: str
    #: Seconds since anything was heard: a list, an event or a bookmark; infinite before the first list.
    silence: float
    #: Since the informer was made: complete lists, watches opened, events applied, failures of either.
    lists: int
    watches: int
    events: int
    failures: int


class _View(NamedTuple):
    """What an informer must know of an object: that of dicts, and of typed views."""

    namespace: str
    name: str
    uid: str
    version: str


class Informer(Generic[T]):
    """The objects of one resource, namespace and selectors. :meth:`run` keeps it current.

    ``type`` is dict or a msgspec Struct with ``metadata`` that has ``name``, ``namespace``, ``uid`` and
    ``resource_version``. ``trim`` returns the part of a fresh object that is worth keeping (metadata must
    stay). ``indexes`` name functions from an object to the keys under which :meth:`by_index` finds it.
    Objects are shared with every reader and must not be changed.
    """

    @overload
    def __init__(
        self: Informer[dict[str, Any]],
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        trim: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        indexes: Mapping[str, Callable[[dict[str, Any]], Iterable[str]]] | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None: ...
    @overload
    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: type[T],
        trim: Callable[[T], T] | None = None,
        indexes: Mapping[str, Callable[[T], Iterable[str]]] | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: Any = dict,
        trim: Callable[[Any], Any] | None = None,
        indexes: Mapping[str, Callable[[Any], Iterable[str]]] | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self.resource = resource
        self._namespace = namespace
        self._labels = labels
        self._selector = LabelSelector.parse(labels) if labels else None
        self._fields = fields
        self._type = type
        self._trim = trim
        self._rng = rng
        self._objects: dict[Key, T] = {}
        self._indexes: dict[str, _Index[T]] = {}
        self._callbacks: list[Callback[T]] = []
        #: Own writes and own deletions that the server's stream has not confirmed yet.
        self._recorded: dict[Key, str] = {}
        self._forgotten: dict[str, Key] = {}
        self._version = ""
        self._heard = float("-inf")
        self._lists = self._watches = self._events = self._failures = 0
        #: Events and bookmarks together.
        self._watched = 0
        #: Set once the first list is in the copy; stays set.
        self.synced = asyncio.Event()
        for name, function in (indexes or {}).items():
            self.add_index(name, function)

    # What readers use

    def add_index(self, name: str, function: Callable[[T], Iterable[str]]) -> None:
        """Add an index; the same function under the same name again does nothing. Raises ``ValueError``."""
        known = self._indexes.get(name)
        if known is not None:
            if known.function is not function:
                raise ValueError(f"{self}: there is another index named {name!r}")
            return
        index = self._indexes[name] = _Index(function)
        for key, obj in self._objects.items():
            index.put(key, obj)

    def on_change(self, callback: Callback[T]) -> None:
        """Call ``callback(kind, object, previous)`` on every change; at once for what is already there.

        It runs on the event loop and must not block. What it raises is logged, and goes no further.
        """
        self._callbacks.append(callback)
        for obj in list(self._objects.values()):
            self._call(callback, "added", obj, None)

    def get(self, namespace: str | None, name: str) -> T | None:
        """Return one object, or None. Cluster-scoped objects have no namespace (None or empty)."""
        return self._objects.get((namespace or "", name))

    def values(self) -> list[T]:
        """Return all objects, in no particular order."""
        return list(self._objects.values())

    def by_index(self, index: str, key: str) -> list[T]:
        """Return the objects that the index has under ``key``. Raises ``KeyError`` for an unknown index."""
        return self._indexes[index].find(key)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(self.values())

    def __repr__(self) -> str:
        scope = "".join(f" {part}" for part in (self._namespace, self._labels, self._fields) if part)
        return f"informer of {self.resource.plural}{scope}"

    def statistics(self) -> InformerStatistics:
        """Return figures about this moment."""
        return InformerStatistics(
            objects=len(self._objects),
            synced=self.synced.is_set(),
            resource_version=self._version,
            silence=asyncio.get_running_loop().time() - self._heard,
            lists=self._lists,
            watches=self._watches,
            events=self._events,
            failures=self._failures,
        )

    # What writers use

    def record(self, obj: T | Mapping[str, Any]) -> None:
        """Show an own write at once: ``obj`` is what the server answered.

        No older event rolls it back (resourceVersions are compared as numbers, which Kubernetes 1.35 and
        later promise, KEP-5504). Objects outside this informer's namespace or labels are left out.
        """
        if self._type is not dict and isinstance(obj, Mapping):
            fresh = cast("T", msgspec.convert(obj, self._type))
        else:
            fresh = cast("T", obj)
        view = _view(fresh)
        if self._namespace is not None and view.namespace != self._namespace:
            return
        key = (view.namespace, view.name)
        current = self._objects.get(key)
        if view.uid in self._forgotten or (current is not None and _older(view, _view(current))):
            return
        if current is None and _seen(view.version, self._version):
            return  # the stream has told of this version, and of the object's deletion since
        if self._selector is not None and not self._selector.matches(_labels(obj)):
            if current is not None:
                self._remove(key, current)
            return
        self._recorded[key] = view.version
        self._put(key, fresh, view)

    def forget(self, namespace: str | None, name: str, uid: str) -> None:
        """Show an own deletion at once. Only for an object that is gone: one that lingers is recorded."""
        key = (namespace or "", name)
        self._forgotten[uid] = key
        current = self._objects.get(key)
        if current is not None and _view(current).uid == uid:
            self._recorded.pop(key, None)
            self._remove(key, current)

    # Keeping current

    async def run(self) -> None:
        """List and watch until cancelled. Failures are logged and tried again, with growing pauses."""
        loop = asyncio.get_running_loop()
        delay = 0.0
        listed = False
        while True:
            if delay:
                await asyncio.sleep(delay * (1 + self._rng()))
            started = loop.time()
            heard = self._watched
            try:
                if not listed:
                    await self._list()
                    listed = True
                opened = loop.time()
                await self._watch()
                if self._watched == heard and loop.time() - opened < _SHORT:
                    raise Unavailable(str(self), "the watch ended as soon as it began")
                delay = 0.0
            except (ApiError, InvalidAnswer, Unavailable) as error:
                self._failures += 1
                # A watch can go on where it was only after a broken connection; else a new list is the truth.
                listed = listed and isinstance(error, Unavailable)
                steady = self._watched > heard or loop.time() - started >= _MAX_DELAY
                delay = _FIRST_DELAY if steady else min(max(_FIRST_DELAY, 2 * delay), _MAX_DELAY)
                level = logging.INFO if isinstance(error, Expired) else logging.WARNING
                _log.log(level, "%s: %s", self, error)

    async def _list(self) -> None:
        # The server's answer includes every write that was finished before; only later ones need protection.
        self._recorded.clear()
        self._forgotten.clear()
        items: list[T] = []
        continue_ = ""
        limit = _PAGE
        while True:
            try:
                page = await self._client.list(
                    self.resource,
                    namespace=self._namespace,
                    labels=self._labels,
                    fields=self._fields,
                    limit=limit,
                    continue_=continue_,
                    type=self._type,
                )
            except Expired:
                if not continue_:
                    raise
                # The pages took too long: read all at once, as client-go does.
                items, continue_, limit = [], "", 0
                continue
            items += page.items
            continue_ = page.continue_
            if not continue_:
                break
        self._version = page.resource_version
        self._lists += 1
        self._hear()
        self._compare(items)
        self.synced.set()

    def _compare(self, items: list[T]) -> None:
        listed: set[Key] = set()
        for obj in items:
            view = _view(obj)
            key = (view.namespace, view.name)
            listed.add(key)
            if view.uid in self._forgotten:
                continue
            current = self._objects.get(key) if key in self._recorded else None
            if current is not None and _older(view, _view(current)):
                continue
            self._put(key, obj, view)
        for key, obj in list(self._objects.items()):
            if key not in listed and key not in self._recorded:
                self._remove(key, obj)

    async def _watch(self) -> None:
        self._watches += 1
        watch = self._client.watch(
            self.resource,
            namespace=self._namespace,
            labels=self._labels,
            fields=self._fields,
            resource_version=self._version,
            timeout_seconds=300 + int(300 * self._rng()),
            silence=_SILENCE,
            type=self._type,
        )
        async with aclosing(watch) as stream:
            async for event in stream:
                self._watched += 1
                self._hear()
                if event.type != "BOOKMARK":
                    self._apply(event.type, event.object)
                if event.resource_version:
                    self._version = event.resource_version

    def _apply(self, type: str, obj: T) -> None:
        self._events += 1
        view = _view(obj)
        key = (view.namespace, view.name)
        current = self._objects.get(key)
        if type == "DELETED":
            self._forgotten.pop(view.uid, None)
            if current is not None and not _older(view, _view(current)):
                self._recorded.pop(key, None)
                self._remove(key, current, last=obj)
            return
        if view.uid in self._forgotten or (current is not None and _older(view, _view(current))):
            return
        if current is None and _seen(view.version, self._version):
            return  # the stream has told of this version, and of the object's deletion since
        self._recorded.pop(key, None)
        self._put(key, obj, view)

    def _hear(self) -> None:
        self._heard = asyncio.get_running_loop().time()

    def _put(self, key: Key, obj: T, view: _View) -> None:
        current = self._objects.get(key)
        if current is not None:
            known = _view(current)
            if known.uid != view.uid:
                # Deleted and made anew while nobody was looking.
                self._remove(key, current)
                current = None
            elif known.version == view.version:
                return
        if self._trim is not None:
            obj = self._trim(obj)
        self._objects[key] = obj
        for index in self._indexes.values():
            index.put(key, obj)
        self._tell("added" if current is None else "modified", obj, current)

    def _remove(self, key: Key, current: T, *, last: T | None = None) -> None:
        del self._objects[key]
        for index in self._indexes.values():
            index.remove(key)
        if last is None:
            last = current
        elif self._trim is not None:
            last = self._trim(last)
        self._tell("deleted", last, current)

    def _tell(self, kind: ChangeKind, obj: T, old: T | None) -> None:
        for callback in self._callbacks:
            self._call(callback, kind, obj, old)

    def _call(self, callback: Callback[T], kind: ChangeKind, obj: T, old: T | None) -> None:
        try:
            callback(kind, obj, old)
        except Exception:  # noqa: BLE001 - one listener's defect must not stop the others, nor the copy
            _log.exception("%s: a listener failed on %s", self, kind)


class _Index(Generic[T]):
    """Objects by the keys that a function gives them."""

    def __init__(self, function: Callable[[T], Iterable[str]]) -> None:
        self.function = function
        self._by_key: dict[str, dict[Key, T]] = {}
        self._keys: dict[Key, tuple[str, ...]] = {}

    def put(self, key: Key, obj: T) -> None:
        self.remove(key)
        try:
            found = tuple(self.function(obj))
        except Exception:  # noqa: BLE001 - an odd object must not stop the copy; it is found by name still
            _log.exception("an index function failed on %s/%s", *key)
            return
        if found:
            self._keys[key] = found
        for value in found:
            self._by_key.setdefault(value, {})[key] = obj

    def remove(self, key: Key) -> None:
        for value in self._keys.pop(key, ()):
            if (bucket := self._by_key.get(value)) is not None:
                bucket.pop(key, None)
                if not bucket:
                    del self._by_key[value]

    def find(self, value: str) -> list[T]:
        return list(self._by_key.get(value, {}).values())


def _view(obj: Any) -> _View:
    metadata = obj["metadata"] if isinstance(obj, dict) else obj.metadata
    if isinstance(metadata, dict):
        return _View(
            metadata.get("namespace") or "",
            metadata["name"],
            metadata.get("uid") or "",
            metadata.get("resourceVersion") or "",
        )
    return _View(metadata.namespace or "", metadata.name, metadata.uid or "", metadata.resource_version or "")


def _labels(obj: Any) -> Mapping[str, str]:
    metadata = obj["metadata"] if isinstance(obj, Mapping) else obj.metadata
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else metadata.labels
    return labels or {}


def _older(view: _View, than: _View) -> bool:
    """Say whether a version is known to be the older one; only numbers can be compared."""
    if view.version.isdecimal() and than.version.isdecimal():
        return int(view.version) < int(than.version)
    return False


def _seen(version: str, latest: str) -> bool:
    """Say whether a version is known to be no newer than the latest that was told of."""
    return version.isdecimal() and latest.isdecimal() and int(version) <= int(latest)
