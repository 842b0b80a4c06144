"""One watcher: which events concern it, in which words, and what happens when it does not keep up.

Events are offered in the step that makes them visible and wait in a bounded queue; a watcher that lets it overflow is
cut off (its stream ends, and the client lists again), so that it never holds others up or grows memory. Encodings are
made once for each event and shared. Selection follows upstream: an object that starts or stops matching the
selectors is ADDED or DELETED. Where objects have to be asked for in the watched version, that happens as they are read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from hortator.apimachinery.selectors import FieldSelector, LabelSelector
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.bodies import encode
from hortator.local.apiserver.storage import ADDED, DELETED, MODIFIED, Collection, Event, Item

__all__ = ["Renderer", "Selection", "Watcher"]

BOOKMARK_SECONDS = 60.0
_QUEUE_EVENTS = 4096
_QUEUE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_CHUNK_OBJECTS = 100

#: Turns (type, item, revision to show) into one line of the stream. Must depend on nothing else.
Renderer = Callable[[str, Item, int], bytes]
#: Returns items in the version that is watched. Raises StatusError, which ends the stream.
Translator = Callable[[Sequence[Item]], Awaitable[Sequence[Item]]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection a list or watch is about. None selects everything."""

    namespace: str = ""
    name: str = ""
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None

    def matches(self, item: Item) -> bool:
        """Whether an object is selected."""
        if self.namespace and item.namespace != self.namespace:
            return False
        if self.name and item.name != self.name:
            return False
        if self.labels is not None and not self.labels.matches(item.labels):
            return False
        return self.fields is None or self.fields.matches(item.fields)


class Watcher:
    """A live watch; an async iterator over chunks of whole lines, to be closed with :meth:`aclose`."""

    def __init__(
        self,
        collection: Collection,
        selection: Selection,
        *,
        render: Renderer,
        render_key: object,
        bookmark: Callable[[int, bool], bytes] | None,
        revision: Callable[[], int],
        timeout: float,
        translate: Translator | None = None,
    ) -> None:
        self._collection = collection
        self._selection = selection
        self._render = render
        self._render_key = render_key
        self._bookmark = bookmark
        self._revision = revision
        self._timeout = timeout
        self._translate = translate
        self._untranslated: deque[Event] = deque()
        self._initial: deque[Item] = deque()
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._stopped = False
        self._end = -1.0
        self._next_bookmark = 0.0

    def begin(self, initial: Sequence[Item], since: Sequence[Event], *, end_marker: bool) -> None:
        """Queue what comes before live events, and join the collection. Call once, before iterating."""
        # Rendered when the reader comes to them: a large table must not hold up the event loop, or be kept whole.
        self._initial.extend(initial)
        if end_marker and self._bookmark is not None:
            self._push(self._bookmark(self._revision(), True))
        for event in since:
            self.offer(event)
        # What happened before is not the watcher's slowness.
        self._limit_events = _QUEUE_EVENTS + len(self._queue) + len(self._untranslated)
        self._limit_bytes = _QUEUE_BYTES + self._queued
        self._collection.readers.add(self)

    _limit_events = 1 << 62
    _limit_bytes = 1 << 62

    def offer(self, event: Event) -> None:
        """Queue an event if it concerns this watcher."""
        if self._stopped:
            return
        if self._translate is None:
            self._tell(event)
            return
        self._untranslated.append(event)
        if len(self._untranslated) > self._limit_events:
            self._cut_off()
        self._wake.set()

    def _tell(self, event: Event) -> None:
        selection = self._selection
        item, previous = event.item, event.previous
        now = event.kind != DELETED and selection.matches(item)
        # What a deletion shows is the last state; it concerns whoever saw the state before it.
        before = previous is not None and selection.matches(previous)
        if now:
            self._emit(event, MODIFIED if before else ADDED, item)
        elif before and previous is not None:
            self._emit(event, DELETED, item if event.kind == DELETED else previous)

    def stop(self) -> None:
        """End the stream after what is queued."""
        self._stopped = True
        self._wake.set()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk of whole lines; ends when the time is over or the watcher was cut off."""
        loop = asyncio.get_running_loop()
        if self._end < 0:
            self._end = loop.time() + self._timeout
            self._next_bookmark = loop.time() + min(
                BOOKMARK_SECONDS, max(self._timeout - 2, self._timeout / 2)
            )
        while True:
            try:
                if self._initial:
                    if chunk := await self._take_initial():
                        return chunk
                    continue
                if self._queue:
                    return self._take()
                if self._untranslated and self._translate is not None:
                    await self._tell_translated(self._translate)
                    continue
            except StatusError as error:
                self._cut_off()
                return encode({"type": "ERROR", "object": error.to_dict()}) + b"\n"
            now = loop.time()
            if self._stopped or now >= self._end:
                await self.aclose()
                raise StopAsyncIteration
            if self._bookmark is not None and now >= self._next_bookmark:
                self._next_bookmark = now + BOOKMARK_SECONDS
                if self._end - 2 > now:
                    self._next_bookmark = min(self._next_bookmark, self._end - 2)
                return self._bookmark(self._revision(), False)
            until = self._end if self._bookmark is None else min(self._end, self._next_bookmark)
            self._wake.clear()
            handle = loop.call_at(until, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                handle.cancel()

    async def aclose(self) -> None:
        """Leave the collection; the reader has gone. Repeated calls do nothing."""
        self._cut_off()

    def _cut_off(self) -> None:
        self._stopped = True
        self._initial.clear()
        self._untranslated.clear()
        self._queue.clear()
        self._queued = 0
        self._collection.readers.discard(self)

    async def _tell_translated(self, translate: Translator) -> None:
        """Queue what the oldest waiting events say in the watched version."""
        event = self._untranslated[0]
        pair = [event.item] if event.previous is None else [event.item, event.previous]
        item, *previous = await translate(pair)
        if self._untranslated:  # else the watch has ended meanwhile
            self._untranslated.popleft()
            self._tell(replace(event, item=item, previous=previous[0] if previous else None, rendered={}))

    def _emit(self, event: Event, kind: str, item: Item) -> None:
        key = (self._render_key, kind, item is event.item)
        line = event.rendered.get(key)
        if line is None:
            line = event.rendered[key] = self._render(kind, item, event.revision)
        self._push(line)

    def _push(self, line: bytes) -> None:
        self._queue.append(line)
        self._queued += len(line)
        if len(self._queue) > self._limit_events or self._queued > self._limit_bytes:
            self._cut_off()
        self._wake.set()

    async def _take_initial(self) -> bytes:
        chunk: list[bytes] = []
        size = 0
        if self._translate is not None:
            count = min(len(self._initial), _CHUNK_OBJECTS)
            items = await self._translate([self._initial.popleft() for _ in range(count)])
            chosen = [item for item in items if self._selection.matches(item)]
            return b"".join(self._render(ADDED, item, item.revision) for item in chosen)
        while self._initial and size < _CHUNK_BYTES and len(chunk) < _CHUNK_OBJECTS:
            item = self._initial.popleft()
            line = self._render(ADDED, item, item.revision)
            chunk.append(line)
            size += len(line)
        return b"".join(chunk)

    def _take(self) -> bytes:
        chunk: list[bytes] = []
        size = 0
        while self._queue and size < _CHUNK_BYTES:
            line = self._queue.popleft()
            chunk.append(line)
            size += len(line)
        self._queued -= size
        return b"".join(chunk)
