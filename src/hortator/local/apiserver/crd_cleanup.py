"""Deleting a CustomResourceDefinition deletes its objects first, through a finalizer, as upstream's finalizer does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.catalog import Catalog
from hortator.local.apiserver.crds import CLEANUP_FINALIZER, CRDS
from hortator.local.apiserver.deletion import DeleteOptions
from hortator.local.apiserver.journal import JournalError
from hortator.local.apiserver.registry import Registry
from hortator.local.apiserver.storage import Event, Key, Stale, Storage

__all__ = ["CrdCleanup"]

log = logging.getLogger(__name__)

Object = dict[str, Any]
_AGAIN_SECONDS = 5.0


class CrdCleanup:
    """Empties and releases definitions that are being deleted. Run :meth:`run` beside the server."""

    def __init__(
        self, storage: Storage, catalog: Catalog, registry: Registry, now: Callable[[], datetime]
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._registry = registry
        self._now = now
        self._changed = asyncio.Event()
        self._followed: set[str] = set()
        storage.collection(CRDS).readers.add(self)
        self._changed.set()

    def offer(self, event: Event) -> None:
        """Look again: a definition, or an object of one that is going away, changed."""
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for item in self._storage.collection(CRDS).ordered():
                if b'"deletionTimestamp"' not in item.data:
                    continue
                crd = item.decode()
                if not crd["metadata"].get("deletionTimestamp"):
                    continue
                try:
                    await self._clean(crd)
                except (StatusError, JournalError) as error:
                    log.warning("objects of %s cannot be deleted yet: %s", item.name, error)
                    asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._changed.set)

    async def _clean(self, crd: Object) -> None:
        if CLEANUP_FINALIZER not in (crd["metadata"].get("finalizers") or ()):
            return
        spec = crd["spec"]
        resource = f"{spec['group']}/{spec['names']['plural']}"
        collection = self._storage.collection(resource)
        if resource not in self._followed:
            self._followed.add(resource)
            collection.readers.add(self)
        served = self._catalog.stored(resource)
        for item in collection.ordered() if served is not None else ():
            if served is not None:
                with contextlib.suppress(Stale):
                    await self._registry.remove(served, item, DeleteOptions(), now=self._now())
        if len(collection) and served is not None:
            return  # finalizers hold some; their end wakes this up again
        collection.readers.discard(self)
        self._followed.discard(resource)
        await self._release(crd["metadata"]["name"])

    async def _release(self, name: str) -> None:
        served = self._catalog.stored(CRDS)
        item = self._storage.get(CRDS, "", name)
        if item is None or served is None:
            return
        obj = item.decode()
        left = [each for each in obj["metadata"].get("finalizers") or () if each != CLEANUP_FINALIZER]
        metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
        if left:
            metadata["finalizers"] = left
        with contextlib.suppress(Stale):  # then its event has woken this up again
            await self._storage.write(
                Key(CRDS, "", name),
                {**obj, "metadata": metadata},
                expected=item,
                fields=item.fields,
                delete=not left,
            )
