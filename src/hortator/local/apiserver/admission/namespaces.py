"""NamespaceLifecycle: nothing is created in a namespace that is not there or is going away, as upstream."""

from __future__ import annotations

import msgspec

from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.local.apiserver.admission.plugin import CREATE, DELETE, Attempt, Plugin
from hortator.local.apiserver.storage import Storage

__all__ = ["NamespaceLifecycle"]

_IMMORTAL = frozenset(("default", "kube-system", "kube-public"))


class NamespaceLifecycle(Plugin):
    """Refuses writes into absent (404) and terminating (403) namespaces, and deleting the namespaces we need."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def mutate(self, attempt: Attempt) -> None:
        """Refuse before anything is spent on the object."""
        if attempt.operation == DELETE:
            if attempt.is_for("/namespaces") and attempt.name in _IMMORTAL:
                raise StatusError.forbidden(
                    "namespaces", "", attempt.name, "this namespace may not be deleted"
                )
            return
        namespace = attempt.namespace
        if not attempt.served.kind.namespaced or not namespace or attempt.operation != CREATE:
            return
        item = self._storage.get("/namespaces", "", namespace)
        if item is None:
            raise StatusError.not_found("namespaces", "", namespace)
        if b'"deletionTimestamp"' not in item.data:
            return
        metadata = msgspec.json.decode(item.data)["metadata"]
        if metadata.get("deletionTimestamp"):
            message = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = StatusError.forbidden(attempt.served.plural, attempt.served.group, attempt.name, message)
            status = error.status
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise StatusError(
                ApiStatus(
                    status.code,
                    status.reason,
                    status.message,
                    name=status.name,
                    group=status.group,
                    kind=status.kind,
                    causes=(cause,),
                    bare=True,
                )
            )
