"""Which Events are worth writing, and which are one more of the same: pure, as client-go's correlator (v0.36).

Three steps. An object that a component has much to say about is cut short (a burst of 25, then one in five minutes).
From the tenth different message of one reason within ten minutes on, messages are combined into one Event. An Event
that was written before is not written again: its count goes up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Correlator", "Write"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_SIZE = 4096
_BURST = 25
_REFILL = 300.0
_SIMILAR = 10
_WINDOW = 600.0
_PREFIX = "(combined from similar events): "

_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion")


class _Recent(OrderedDict[K, V], Generic[K, V]):
    """A mapping that forgets what has not been used for longest."""

    def find(self, key: K) -> V | None:
        value = self.get(key)
        if value is not None:
            self.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _SIZE:
            self.popitem(last=False)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    time: float


@dataclass(slots=True)
class _Similar:
    time: float
    messages: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Written:
    name: str
    namespace: str
    first: str
    count: int


@dataclass(frozen=True, slots=True)
class Write:
    """What to write: ``event`` as a whole if it is new, else ``patch`` to the Event of that name."""

    event: dict[str, Any]
    patch: dict[str, Any] | None = None


class Correlator:
    """The memory of one recorder."""

    def __init__(self) -> None:
        self._buckets: _Recent[Hashable, _Bucket] = _Recent()
        self._similar: _Recent[Hashable, _Similar] = _Recent()
        self._written: _Recent[Hashable, _Written] = _Recent()

    def correlate(self, event: dict[str, Any], *, time: float) -> Write | None:
        """Return what to write for an Event that is to be told at ``time`` (seconds); None for nothing."""
        involved = event["involvedObject"]
        about = (event["source"].get("host", ""), *(involved.get(key, "") for key in _OBJECT), event["type"])
        if not self._admit(about, time):
            return None
        key: Hashable = (*about, involved.get("fieldPath", ""), event["reason"], event["message"])
        group = (*about, event["reason"])
        if self._is_one_of_many(group, event["message"], time):
            event = {**event, "message": _PREFIX + event["message"]}
            key = group
        return self._count(key, event)

    def _admit(self, key: Hashable, time: float) -> bool:
        bucket = self._buckets.find(key) or _Bucket(_BURST, time)
        bucket.tokens = min(_BURST, bucket.tokens + (time - bucket.time) / _REFILL)
        bucket.time = time
        self._buckets.keep(key, bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _is_one_of_many(self, key: Hashable, message: str, time: float) -> bool:
        similar = self._similar.find(key)
        if similar is None or time - similar.time > _WINDOW:
            similar = _Similar(time)
        similar.time = time
        similar.messages[message] = None
        self._similar.keep(key, similar)
        if len(similar.messages) < _SIMILAR:
            return False
        # Upstream forgets any one of them, so that the set does not grow.
        del similar.messages[next(iter(similar.messages))]
        return True

    def _count(self, key: Hashable, event: dict[str, Any]) -> Write:
        known = self._written.find(key)
        metadata = event["metadata"]
        if known is None:
            self._written.keep(
                key, _Written(metadata["name"], metadata["namespace"], event["firstTimestamp"], 1)
            )
            return Write(event)
        known.count += 1
        event = {
            **event,
            "metadata": {"name": known.name, "namespace": known.namespace},
            "firstTimestamp": known.first,
            "count": known.count,
        }
        patch = {key: event[key] for key in ("count", "lastTimestamp", "message")}
        return Write(event, patch)
