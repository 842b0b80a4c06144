"""The keys that wait for a controller: one at a time, each once, in turn.

What a key means and what is done with it is the controller's (``manager``). Timers run on the event loop's
clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["QueueClosed", "QueueStatistics", "WorkQueue"]

K = TypeVar("K", bound=Hashable)


class QueueClosed(Exception):
    """Raised by :meth:`WorkQueue.get` when the queue was closed."""


class QueueStatistics(NamedTuple):
    """A queue at one moment."""

    #: Keys that are ready and wait for a worker.
    ready: int
    #: Keys that a worker has now.
    processing: int
    #: Keys whose time has not come.
    delayed: int
    #: Keys that failed and have not succeeded since.
    failing: int
    #: Calls of ``add`` that made a key ready, since the queue was made.
    added: int
    #: Seconds for which the key at the head has been ready.
    longest_wait: float


class WorkQueue(Generic[K]):
    """A set of keys in the order in which they became ready.

    A key that is added again while it waits is handed out once. A key that is added while a worker has it is
    handed out again after :meth:`done`, behind the keys that were ready before: no key can keep others
    waiting, and none is ever with two workers.
    """

    def __init__(self, *, base_delay: float = 0.005, max_delay: float = 120.0) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._order: deque[K] = deque()
        #: Ready keys, with the time since when.
        self._ready: dict[K, float] = {}
        self._processing: set[K] = set()
        #: Keys to be made ready as soon as their worker is done.
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._added = 0
        self._closed = False

    def add(self, key: K) -> None:
        """Make a key ready. After :meth:`close` nothing happens."""
        if self._closed or key in self._ready:
            return
        if key in self._processing:
            self._again.add(key)
            return
        self._ready[key] = asyncio.get_running_loop().time()
        self._order.append(key)
        self._added += 1
        self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Make a key ready after a while; of several such calls the earliest time counts."""
        if self._closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def add_failed(self, key: K) -> float:
        """Make a key ready after its back-off, which doubles with each failure; return the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base_delay * 2.0 ** min(failures, 64), self._max_delay)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Let the key's next back-off start from the beginning again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Return the key that has been ready longest; call :meth:`done` with it. Raises ``QueueClosed``."""
        while not self._order:
            if self._closed:
                raise QueueClosed
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # The wake-up was meant for somebody; pass it on.
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if self._closed:
            raise QueueClosed
        key = self._order.popleft()
        del self._ready[key]
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """Say that the worker has finished with the key."""
        self._processing.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Drop what waits, cancel the timers, and let every ``get`` raise ``QueueClosed``."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._order.clear()
        self._ready.clear()
        self._again.clear()
        while self._waiters:
            self._wake()

    def statistics(self) -> QueueStatistics:
        """Return figures about this moment."""
        wait = asyncio.get_running_loop().time() - self._ready[self._order[0]] if self._order else 0.0
        return QueueStatistics(
            ready=len(self._order),
            processing=len(self._processing),
            delayed=len(self._timers),
            failing=len(self._failures),
            added=self._added,
            longest_wait=wait,
        )

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
