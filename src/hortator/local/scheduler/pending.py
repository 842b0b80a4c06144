"""The pods that wait for a place: who is next, and when to try those again that found none.

Ready pods go by priority, then by the time at which they came. A pod that found no place waits until
something changes (:meth:`Pending.stir`), and, unless a later one is tried, no shorter than its back-off, which doubles
with every attempt: 0.1 s to 10 s. (Upstream starts with 1 s; a person at a laptop waits for that.) Time is passed
in, in seconds of any clock.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from hortator.local.scheduler.pods import PodInfo

__all__ = ["Pending"]

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0
#: A pod is tried again after this long even when nothing is known to have changed.
PATIENCE = 300.0


@dataclass(slots=True)
class _Entry:
    pod: PodInfo
    order: int
    attempts: int = 0
    last: float = 0.0
    parked: bool = False
    #: With ``parked``: something changed, so only the back-off holds it.
    stirred: bool = False

    @property
    def turn(self) -> tuple[int, int]:
        """Where it stands among all: more important pods first, then those that came earlier."""
        return -self.pod.priority, self.order

    def due(self) -> float:
        wait = min(FIRST_BACKOFF * 2 ** min(self.attempts - 1, 10), LONGEST_BACKOFF)
        return self.last + (wait if self.stirred else PATIENCE)


class Pending:
    """The waiting pods by UID."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._order = 0
        self._stirred = False

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uid: str) -> bool:
        return uid in self._entries

    def put(self, pod: PodInfo) -> None:
        """Add a pod, or take over its new form and make it ready at once."""
        entry = self._entries.get(pod.uid)
        if entry is None:
            self._order += 1
            self._stirred = True
            entry = self._entries[pod.uid] = _Entry(pod, self._order)
        elif not entry.parked and entry.pod.priority == pod.priority:
            entry.pod = pod
            return
        entry.pod, entry.parked = pod, False
        self._push(entry)

    def refresh(self, pod: PodInfo) -> None:
        """Take over a waiting pod's new form without making it ready (only its status changed)."""
        entry = self._entries.get(pod.uid)
        if entry is not None:
            entry.pod = pod

    def get(self, uid: str) -> PodInfo | None:
        """Return a waiting pod."""
        entry = self._entries.get(uid)
        return entry.pod if entry else None

    def drop(self, uid: str) -> None:
        """Forget a pod: it was placed, deleted, or is not ours any more."""
        self._entries.pop(uid, None)

    def following(self, now: float) -> tuple[PodInfo | None, float | None]:
        """Return the pod that is next; or None and the seconds until the next one is ready, if any will be."""
        if self._stirred:
            # Whoever became ready by the change may be more important than those that are ready already.
            self._stirred = False
            self.release(now)
        pod = self.take()
        if pod is not None:
            return pod, None
        left = self.release(now)
        return self.take(), left

    def take(self) -> PodInfo | None:
        """Return the ready pod that is next, or None. It stays known until :meth:`drop` or :meth:`park`."""
        while self._heap:
            priority, order, uid = heapq.heappop(self._heap)
            entry = self._entries.get(uid)
            if entry is not None and not entry.parked and entry.turn == (priority, order):
                return entry.pod
        return None

    def park(self, uid: str, now: float, *, stirred: bool = False) -> None:
        """Note that a pod found no place; ``stirred``: try again after the back-off without waiting for a
        change.
        """
        entry = self._entries.get(uid)
        if entry is not None:
            entry.attempts += 1
            entry.last, entry.parked, entry.stirred = now, True, stirred

    def stir(self) -> None:
        """Note that something changed: whoever waits is tried again once its back-off is over."""
        self._stirred = True
        for entry in self._entries.values():
            if entry.parked:
                entry.stirred = True

    def release(self, now: float) -> float | None:
        """Make those ready whose time has come; return the seconds until the next one's, or None.

        A back-off lets nobody overtake: whoever came earlier is tried before the last of those that are ready, if something
        changed for it. Otherwise groups of pods that came one group after the other could each get a part of what became
        free, and wait for the rest for ever.
        """
        parked = [entry for entry in self._entries.values() if entry.parked]
        turns = [entry.turn for entry in self._entries.values() if not entry.parked or entry.due() <= now]
        last = max(turns, default=None)
        following: float | None = None
        for entry in parked:
            left = entry.due() - now
            if left <= 0 or (entry.stirred and last is not None and entry.turn < last):
                entry.parked = False
                self._push(entry)
            elif following is None or left < following:
                following = left
        return following

    def _push(self, entry: _Entry) -> None:
        heapq.heappush(self._heap, (*entry.turn, entry.pod.uid))
