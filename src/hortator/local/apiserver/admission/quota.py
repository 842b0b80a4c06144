"""ResourceQuota: a namespace uses no more than it was given, and its quotas say how much that is.

What is used is summed from the store, together with what writes that are on their way will use, so that requests at the
same time cannot overdraw. ``status.used`` follows shortly after each change. Words follow upstream (1.36).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hortator.apimachinery.quantity import Quantity
from hortator.apimachinery.quantity import parse as parse_quantity
from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.admission.plugin import CREATE, UPDATE, Attempt, Plugin
from hortator.local.apiserver.journal import JournalError
from hortator.local.apiserver.resource_usage import Usage, add, in_scope, usage_of
from hortator.local.apiserver.storage import DELETED, Event, Item, Key, Stale, Storage

__all__ = ["Quotas"]

Object = dict[str, Any]

QUOTAS = "/resourcequotas"
_ZERO = parse_quantity(0)
#: Resources whose updates may use more.
_GROWING = frozenset(("/pods", "/persistentvolumeclaims", "/services"))
_MUST_SPECIFY = ("cpu", "memory")


@dataclass(frozen=True, slots=True, eq=False)
class _Reservation:
    """What a write that has been let through will use."""

    resource: str
    obj: Object
    old: Object | None
    usage: Usage

    def is_written(self, storage: Storage) -> bool:
        """Whether the write is in the store already, where it counts by itself."""
        metadata = self.obj["metadata"]
        item = storage.get(self.resource, metadata.get("namespace") or "", metadata.get("name") or "")
        if item is None or item.uid != metadata.get("uid"):
            return False
        return self.old is None or str(item.revision) != self.old["metadata"].get("resourceVersion")


class Quotas(Plugin):
    """Enforces quotas and keeps their status. Run :meth:`run` beside the server."""

    def __init__(self, storage: Storage, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._now = now
        self._reserved: dict[str, list[_Reservation]] = {}
        self._known: dict[str, tuple[int, Usage, Object]] = {}
        self._dirty: set[str] = set()
        self._changed = asyncio.Event()
        self._followed: set[str] = set()
        storage.collection(QUOTAS).readers.add(self)
        for namespace in {item.namespace for item in storage.collection(QUOTAS).items.values()}:
            self._touch(namespace)

    def offer(self, event: Event) -> None:
        """Note that a namespace's usage or quotas changed."""
        if event.kind == DELETED:
            self._known.pop(event.item.uid, None)
        self._touch(event.item.namespace)

    def _touch(self, namespace: str) -> None:
        if self._storage.collection(QUOTAS).count(namespace):
            self._dirty.add(namespace)
            self._changed.set()

    async def validate(self, attempt: Attempt) -> None:
        """Refuse (403) what would use more than a quota allows; reserve it until it is written."""
        namespace = attempt.namespace
        if not namespace or attempt.obj is None or attempt.subresource not in ("", "resize"):
            return
        growing = attempt.operation == CREATE or (
            attempt.operation == UPDATE and attempt.served.storage in _GROWING
        )
        if not growing or not self._storage.collection(QUOTAS).count(namespace):
            return
        resource = attempt.served.storage
        delta = usage_of(resource, attempt.obj, now=self._now())
        if attempt.old is not None:
            add(delta, usage_of(resource, attempt.old, now=self._now()), sign=-1)
        delta = {name: amount for name, amount in delta.items() if amount > _ZERO}
        if not delta:
            return
        for item in self._quotas(namespace):
            self._check(item, attempt, resource, delta)
        if not attempt.dry_run:
            reservation = _Reservation(resource, attempt.obj, attempt.old, delta)
            reserved = self._reserved.setdefault(namespace, [])
            reserved.append(reservation)
            attempt.afterwards.append(lambda: reserved.remove(reservation))

    def _check(self, item: Item, attempt: Attempt, resource: str, delta: Usage) -> None:
        quota, obj = item.decode(), attempt.obj or {}
        if not in_scope(quota, resource, obj):
            return
        hard = _hard(quota)
        if resource == "/pods" and attempt.operation == CREATE:
            self._must_specify(item, attempt, hard)
        relevant = {name: amount for name, amount in delta.items() if name in hard}
        if not relevant:
            return
        used = self._used(quota, item.namespace, reserved=True)
        exceeded = sorted(
            name for name, amount in relevant.items() if used.get(name, _ZERO) + amount > hard[name]
        )
        if exceeded:

            def show(values: Mapping[str, Quantity]) -> str:
                return ",".join(f"{name}={values.get(name, _ZERO)}" for name in exceeded)

            raise _forbidden(
                attempt,
                f"exceeded quota: {item.name}, requested: {show(relevant)}, used: {show(used)}, limited: {show(hard)}",
            )

    def _must_specify(self, item: Item, attempt: Attempt, hard: Usage) -> None:
        """Refuse a pod that leaves out what its namespace's quota counts: it could use anything."""
        missing: dict[str, list[str]] = {}
        spec = (attempt.obj or {}).get("spec") or {}
        whole = spec.get("resources") or {}
        for name in sorted(hard):
            part, _, plain = name.rpartition(".")
            part = part or "requests"
            if (
                plain not in _MUST_SPECIFY
                or part not in ("requests", "limits")
                or plain in (whole.get(part) or {})
            ):
                continue
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                if plain not in ((container.get("resources") or {}).get(part) or {}):
                    missing.setdefault(name, []).append(container.get("name", ""))
        if missing:
            text = "; ".join(f"{name} for: {','.join(sorted(names))}" for name, names in missing.items())
            raise _forbidden(attempt, f"failed quota: {item.name}: must specify {text}")

    def _quotas(self, namespace: str) -> list[Item]:
        return self._storage.collection(QUOTAS).ordered(namespace)

    def _used(self, quota: Object, namespace: str, *, reserved: bool = False) -> Usage:
        """Return what is used of the things that a quota limits."""
        hard = _hard(quota)
        total: Usage = dict.fromkeys(hard, _ZERO)
        for collection in self._storage.collections():
            resource = collection.resource
            if not collection.count(namespace) or not _concerns(resource, hard):
                continue
            self._follow(resource)
            for item in collection.ordered(namespace):
                usage, obj = self._usage(resource, item)
                if in_scope(quota, resource, obj):
                    add(total, {name: amount for name, amount in usage.items() if name in hard})
        if reserved:
            for each in self._reserved.get(namespace, ()):
                if in_scope(quota, each.resource, each.obj) and not each.is_written(self._storage):
                    add(total, {name: amount for name, amount in each.usage.items() if name in hard})
        return total

    def _usage(self, resource: str, item: Item) -> tuple[Usage, Object]:
        known = self._known.get(item.uid)
        if known is not None and known[0] == item.revision:
            return known[1], known[2]
        obj = item.decode()
        usage = usage_of(resource, obj, now=self._now())
        # Only what scopes look at is kept of the object.
        kept = {"spec": obj.get("spec")} if resource == "/pods" else {}
        self._known[item.uid] = (item.revision, usage, kept)
        return usage, kept

    def _follow(self, resource: str) -> None:
        if resource not in self._followed:
            self._followed.add(resource)
            if resource != QUOTAS:
                self._storage.collection(resource).readers.add(self)

    async def run(self) -> None:
        """Write the status of quotas whose namespace changed, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._dirty:
                await self._refresh(self._dirty.pop())

    async def _refresh(self, namespace: str) -> None:
        for item in self._quotas(namespace):
            quota = item.decode()
            hard = (quota.get("spec") or {}).get("hard") or {}
            for name in hard:
                self._follow(_resource_named(name))
            used = {name: str(amount) for name, amount in self._used(quota, namespace).items()}
            status = {"hard": hard, "used": used}
            if quota.get("status") == status:
                continue
            # Somebody else was quicker, or the disk is full: the next change tries again.
            with contextlib.suppress(Stale, JournalError):
                await self._storage.write(
                    Key(QUOTAS, item.namespace, item.name),
                    {**quota, "status": status},
                    expected=item,
                    fields=item.fields,
                )


def _hard(quota: Object) -> Usage:
    return {
        name: parse_quantity(value) for name, value in ((quota.get("spec") or {}).get("hard") or {}).items()
    }


def _concerns(resource: str, hard: Mapping[str, Quantity]) -> bool:
    group, _, plural = resource.partition("/")
    if f"count/{plural}.{group}" in hard or (not group and f"count/{plural}" in hard):
        return True
    if resource == "/pods":
        return any(
            name in ("pods", "cpu", "memory", "ephemeral-storage")
            or name.startswith(("requests.", "limits."))
            for name in hard
        )
    if resource == "/persistentvolumeclaims":
        return any("storage" in name or name == plural for name in hard)
    if resource == "/services":
        return any(name.startswith("services") for name in hard)
    return not group and plural in hard


def _resource_named(name: str) -> str:
    """Return the collection whose objects a quota's entry counts."""
    if name.startswith("count/"):
        plural, _, group = name.removeprefix("count/").partition(".")
        return f"{group}/{plural}"
    if "storage" in name and "ephemeral" not in name:
        return "/persistentvolumeclaims"
    if name.startswith("services"):
        return "/services"
    if name in (
        "configmaps",
        "secrets",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
    ):
        return f"/{name}"
    return "/pods"


def _forbidden(attempt: Attempt, detail: str) -> StatusError:
    name = ((attempt.obj or {}).get("metadata") or {}).get("name") or attempt.name
    return StatusError.forbidden(attempt.served.plural, attempt.served.group, name, detail)
