"""ConfigMaps and Secrets as pods read them: fetched when needed, watched one by one while a volume shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hortator.kube.client import Client
from hortator.kube.errors import NotFound
from hortator.kube.informer import Informer
from hortator.kube.resources import CONFIG_MAPS, SECRETS, Resource

__all__ = ["ObjectWatcher"]

_RESOURCES: dict[str, Resource] = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}
Key = tuple[str, str, str]


class ObjectWatcher:
    """Shared by all pods of this process, so that each object is watched once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watches: dict[Key, tuple[asyncio.Task[None], set[Callable[[], None]]]] = {}

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Fetch an object; None when it does not exist. Raises the client's errors otherwise."""
        try:
            return await self._client.get(_RESOURCES[kind], name, namespace=namespace)
        except NotFound:
            return None

    def watch(self, kind: str, namespace: str, name: str, changed: Callable[[], None]) -> None:
        """Call ``changed`` on the loop whenever the object appears, changes or goes; it may be called too often."""
        key = (kind, namespace, name)
        known = self._watches.get(key)
        if known is not None:
            known[1].add(changed)
            return
        listeners = {changed}
        informer = Informer(
            self._client,
            _RESOURCES[kind],
            namespace=namespace,
            fields=f"metadata.name={name}",
            trim=lambda obj: {"metadata": obj["metadata"]},
        )

        def tell(*_: object) -> None:
            for listener in tuple(listeners):
                listener()

        informer.on_change(tell)
        task = asyncio.create_task(informer.run(), name=f"watch {kind} {namespace}/{name}")
        self._watches[key] = (task, listeners)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Stop calling ``changed``, whatever it watches."""
        for key, (task, listeners) in list(self._watches.items()):
            listeners.discard(changed)
            if not listeners:
                task.cancel()
                del self._watches[key]

    async def close(self) -> None:
        """Stop every watch."""
        tasks = [task for task, _ in self._watches.values()]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
