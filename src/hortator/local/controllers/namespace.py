"""Empties namespaces that are being deleted, then lets them go: pods first, then everything else, custom
kinds too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery import conditions, meta
from hortator.kube.errors import ApiError, Conflict, MethodNotAllowed, NotFound
from hortator.kube.manager import Controller, Manager, Result
from hortator.kube.resources import NAMESPACES, PODS, Resource
from hortator.local.controllers.discovery import discover

__all__ = ["NamespaceController", "deletion_conditions"]

FINALIZER = "kubernetes"
#: Seconds between two looks at what still has to go; the end of a pod brings the next look forward.
INTERVAL = 0.5


class Remains:
    """What is left in a namespace after a round of deletions."""

    def __init__(self) -> None:
        self.objects: Counter[str] = Counter()
        self.finalizers: Counter[str] = Counter()
        self.errors: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.objects or self.errors)


def deletion_conditions(remains: Remains) -> list[tuple[str, bool, str, str]]:
    """Return the conditions of an ending namespace (type, status, reason, message) in upstream's words."""
    left = ", ".join(
        sorted(f"{name} has {count} resource instances" for name, count in remains.objects.items())
    )
    held = ", ".join(
        sorted(f"{name} in {count} resource instances" for name, count in remains.finalizers.items())
    )
    errors = "; ".join(sorted(remains.errors))
    return [
        (
            "NamespaceDeletionContentFailure",
            bool(errors),
            "ContentDeletionFailed" if errors else "ContentDeleted",
            f"Failed to delete all resource types, {len(remains.errors)} remaining: {errors}"
            if errors
            else "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            bool(left),
            "SomeResourcesRemain" if left else "ContentRemoved",
            f"Some resources are remaining: {left}" if left else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(held),
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {held}"
            if held
            else "All content-preserving finalizers finished",
        ),
    ]


class NamespaceController:
    """Finishes the deletion of namespaces."""

    def __init__(self, manager: Manager, *, now: Callable[[], datetime]) -> None:
        self._client = manager.client
        self._now = now
        self._namespaces = manager.informer(NAMESPACES)
        self._controller = manager.add(Controller("namespace", self._reconcile, workers=2, max_delay=10.0))
        self._namespaces.on_change(self._namespace_changed)
        manager.informer(PODS).on_change(self._pod_changed)

    def _namespace_changed(self, kind: str, namespace: Mapping[str, Any], _: object) -> None:
        if kind != "deleted" and meta.is_deleting(namespace):
            self._controller.enqueue(meta.name_of(namespace))

    def _pod_changed(self, kind: str, pod: Mapping[str, Any], _: object) -> None:
        if kind == "deleted":
            namespace = self._namespaces.get(None, meta.namespace_of(pod))
            if namespace is not None and meta.is_deleting(namespace):
                self._controller.enqueue(meta.name_of(namespace))

    async def _reconcile(self, name: str) -> Result | None:
        namespace = self._namespaces.get(None, name)
        if namespace is None or not meta.is_deleting(namespace):
            return None
        if FINALIZER not in ((namespace.get("spec") or {}).get("finalizers") or ()):
            return None
        remains = await self._empty(name)
        if remains:
            await self._report(name, remains)
            return Result(requeue_after=INTERVAL)
        await self._finalize(name)
        return None

    async def _empty(self, name: str) -> Remains:
        """Delete what is there; return what is left."""
        remains = Remains()
        await self._delete_all(PODS, name, remains)
        if remains:
            # Pods may need their Secrets and volumes to end well, so the rest waits for them.
            return remains
        for served in await discover(self._client):
            resource = served.resource
            if resource.namespaced and {"list", "delete"} <= served.verbs and resource.plural != PODS.plural:
                await self._delete_all(resource, name, remains)
        return remains

    async def _delete_all(self, resource: Resource, namespace: str, remains: Remains) -> None:
        try:
            if not (await self._client.list(resource, namespace=namespace, limit=1)).items:
                return
            try:
                await self._client.delete_collection(resource, namespace=namespace, propagation="Background")
            except MethodNotAllowed:
                for obj in await self._client.all(resource, namespace=namespace):
                    await self._client.delete(
                        resource, meta.name_of(obj), namespace=namespace, propagation="Background"
                    )
            left = await self._client.all(resource, namespace=namespace)
        except (NotFound, MethodNotAllowed):
            # The resource went away meanwhile, or cannot be listed or deleted at all.
            return
        except ApiError as error:
            remains.errors.append(f"{resource.plural}.{resource.group}: {error}")
            return
        if left:
            remains.objects[f"{resource.plural}.{resource.group}"] += len(left)
            for obj in left:
                remains.finalizers.update(obj["metadata"].get("finalizers") or ())

    async def _report(self, name: str, remains: Remains) -> None:
        namespace = self._namespaces.get(None, name)
        if namespace is None:
            return
        before = (namespace.get("status") or {}).get("conditions") or []
        after = before
        for kind, failing, reason, message in deletion_conditions(remains):
            after = conditions.set_condition(
                after,
                kind,
                failing,
                reason=reason,
                message=message,
                now=self._now(),
            )
        if after == before:
            return
        status = {**(namespace.get("status") or {}), "conditions": after}
        try:
            self._namespaces.record(
                await self._client.replace(
                    NAMESPACES,
                    {**namespace, "apiVersion": "v1", "kind": "Namespace", "status": status},
                    subresource="status",
                )
            )
        except (NotFound, Conflict):
            return

    async def _finalize(self, name: str) -> None:
        try:
            namespace = await self._client.get(NAMESPACES, name)
            spec = namespace.get("spec") or {}
            left = [one for one in spec.get("finalizers") or () if one != FINALIZER]
            await self._client.replace(
                NAMESPACES, {**namespace, "spec": {**spec, "finalizers": left}}, subresource="finalize"
            )
        except NotFound:
            return
