"""Events: what controllers tell people about an object, as ``kubectl describe`` shows it.

Telling never waits and never fails; the writing is done behind it, in order. What is written and what is only counted
is decided by ``correlator``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from hortator.apimachinery.meta import rfc3339
from hortator.kube.client import Client
from hortator.kube.correlator import Correlator, Write
from hortator.kube.errors import KubeError, NotFound, Unavailable
from hortator.kube.resources import EVENTS

__all__ = ["Recorder", "RecorderStatistics"]

_log = logging.getLogger(__name__)

_QUEUE = 1000
#: client-go's (v0.36): attempts per Event, and seconds between them.
_TRIES = 12
_PAUSE = 10.0
#: An Event's message can be this long (API validation, bytes).
_MESSAGE = 1024
_REFERENCE = ("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath")


class RecorderStatistics(NamedTuple):
    """A recorder at one moment; the counts are since it was made."""

    #: Events that wait to be written.
    waiting: int
    #: Events created, and Events whose count was raised.
    created: int
    counted: int
    #: Left out by the spam filter, because the queue was full, or because the server refused them.
    filtered: int
    dropped: int
    refused: int


class Recorder:
    """Tells Events in the name of a component. ``host`` is the node that the component is on, if it matters."""

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        host: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._now = now
        self._rng = rng
        self._correlator = Correlator()
        self._queue: deque[dict[str, Any]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._last_name = 0
        self._created = self._counted = self._filtered = self._dropped = self._refused = 0

    def event(
        self,
        obj: Mapping[str, Any],
        type: str,
        reason: str,
        message: str,
    ) -> None:
        """Tell an Event about an object (or about the reference to one: apiVersion, kind, namespace, name, uid).

        ``type`` is ``Normal`` or ``Warning``; ``reason`` a word in camel case. Returns at once.
        """
        reference = _reference(obj)
        if reference is None or type not in ("Normal", "Warning"):
            _log.error("an Event that cannot be told: %s %s %r of %r", type, reason, message, obj)
            return
        if len(self._queue) >= _QUEUE:
            self._dropped += 1
            _log.warning("too many Events wait; dropped %s of %s: %s", reason, reference["name"], message)
            return
        self._queue.append(self._make(reference, type, reason, message))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all(), name="events")

    async def flush(self) -> None:
        """Return when everything that was told has been written or given up."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait((self._writer,))

    async def run(self) -> None:
        """Do nothing until cancelled; then give what is left a second to be written. For a manager's services."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self, *, grace: float = 1.0) -> None:
        """Write what is left within ``grace`` seconds, and stop."""
        if self._writer is not None and not self._writer.done():
            await asyncio.wait((self._writer,), timeout=grace)
            self._writer.cancel()
            await asyncio.wait((self._writer,))
        if self._queue:
            _log.warning("%d Events were not written", len(self._queue))
            self._queue.clear()

    def statistics(self) -> RecorderStatistics:
        """Return figures about this moment."""
        return RecorderStatistics(
            len(self._queue), self._created, self._counted, self._filtered, self._dropped, self._refused
        )

    def _make(self, reference: dict[str, Any], type: str, reason: str, message: str) -> dict[str, Any]:
        now = self._now()
        stamp = rfc3339(now)
        source = {"component": self._component, **({"host": self._host} if self._host else {})}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": self._name(reference["name"], now),
                "namespace": reference.get("namespace") or "default",
            },
            "involvedObject": reference,
            "type": type,
            "reason": reason,
            "message": _cut(message),
            "source": source,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }

    def _name(self, name: str, now: datetime) -> str:
        # Nanoseconds as upstream; the clock has only micro, the rest keeps several recorders apart.
        number = int(now.timestamp() * 1_000_000) * 1000 + int(self._rng() * 1000)
        self._last_name = max(self._last_name + 1, number)
        suffix = f".{self._last_name:x}"
        return name[: 253 - len(suffix)].rstrip(".-") + suffix

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            event = self._queue[0]
            write = self._correlator.correlate(event, time=loop.time())
            if write is None:
                self._filtered += 1
            else:
                await self._try(write)
            self._queue.popleft()

    async def _try(self, write: Write) -> None:
        for attempt in range(_TRIES):
            try:
                await self._write(write)
            except Unavailable as error:
                _log.warning("an Event was not written: %s", error)
            except KubeError as error:
                self._refused += 1
                _log.warning("an Event was refused: %s: %s", write.event["reason"], error)
                return
            else:
                return
            # The first pause is cut at random, so that clients do not all come back at once.
            await asyncio.sleep(_PAUSE * (self._rng() if attempt == 0 else 1))
        self._refused += 1
        _log.error("an Event was given up: %s: %s", write.event["reason"], write.event["message"])

    async def _write(self, write: Write) -> None:
        event = write.event
        metadata = event["metadata"]
        if write.patch is not None:
            try:
                await self._client.patch(
                    EVENTS, metadata["name"], write.patch, namespace=metadata["namespace"]
                )
            except NotFound:
                pass  # it has reached its age; the whole takes its place
            else:
                self._counted += 1
                return
        await self._client.create(EVENTS, event, field_manager=self._component)
        self._created += 1


def _reference(obj: Mapping[str, Any]) -> dict[str, Any] | None:
    metadata = obj.get("metadata")
    source = (
        obj
        if metadata is None
        else {**metadata, "apiVersion": obj.get("apiVersion"), "kind": obj.get("kind")}
    )
    reference = {key: source[key] for key in _REFERENCE if source.get(key)}
    return reference if reference.get("name") and reference.get("kind") else None


def _cut(message: str) -> str:
    data = message.encode("utf-8", "replace")
    if len(data) <= _MESSAGE:
        return message
    return data[: _MESSAGE - 3].decode("utf-8", "ignore") + "..."
