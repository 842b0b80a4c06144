"""Writes the rules of aggregating ClusterRoles into them, for people and programs that read the objects.

Authorization does not wait for this: it aggregates by itself.
"""

from __future__ import annotations

import asyncio
import contextlib

from hortator.local.apiserver.authorization import CLUSTER_ROLES, Authorizer
from hortator.local.apiserver.journal import JournalError
from hortator.local.apiserver.storage import Event, Key, Stale, Storage

__all__ = ["Aggregation"]


class Aggregation:
    """Follows the ClusterRoles. Run :meth:`run` beside the server."""

    def __init__(self, storage: Storage, authorizer: Authorizer) -> None:
        self._storage = storage
        self._authorizer = authorizer
        self._changed = asyncio.Event()
        self._changed.set()
        storage.collection(CLUSTER_ROLES).readers.add(self)

    def offer(self, event: Event) -> None:
        """Look again: a role changed."""
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for item in self._storage.collection(CLUSTER_ROLES).ordered():
                if b'"aggregationRule"' not in item.data:
                    continue
                role = item.decode()
                if not role.get("aggregationRule"):
                    continue
                found = self._authorizer.aggregate(item.name, role["aggregationRule"])
                rules = [rule.to_dict() for rule in found]
                if rules == (role.get("rules") or []):
                    continue
                # Somebody else was quicker, or the disk is full: the next change tries again.
                with contextlib.suppress(Stale, JournalError):
                    key = Key(CLUSTER_ROLES, "", item.name)
                    await self._storage.write(
                        key, {**role, "rules": rules}, expected=item, fields=item.fields
                    )
