"""What every namespace has: the ServiceAccount ``default`` and the ConfigMap with the cluster's root
certificate.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hortator.apimachinery import meta
from hortator.kube.errors import AlreadyExists, Forbidden, NotFound
from hortator.kube.manager import Controller, Manager
from hortator.kube.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS

__all__ = ["NamespaceFurniture"]

ROOT_CA = "kube-root-ca.crt"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class NamespaceFurniture:
    """Puts both into each namespace and back when they are deleted. ``root_ca`` is PEM; empty: no ConfigMap."""

    def __init__(self, manager: Manager, *, root_ca: str) -> None:
        self._client = manager.client
        self._root_ca = root_ca
        self._namespaces = manager.informer(NAMESPACES)
        self._accounts = manager.informer(SERVICE_ACCOUNTS, fields="metadata.name=default")
        self._bundles = manager.informer(CONFIG_MAPS, fields=f"metadata.name={ROOT_CA}")
        self._controller = manager.add(Controller("namespace furniture", self._reconcile, workers=2))
        self._namespaces.on_change(lambda kind, obj, old: self._controller.enqueue(meta.name_of(obj)))
        self._accounts.on_change(lambda kind, obj, old: self._controller.enqueue(meta.namespace_of(obj)))
        self._bundles.on_change(lambda kind, obj, old: self._controller.enqueue(meta.namespace_of(obj)))

    async def _reconcile(self, name: str) -> None:
        namespace = self._namespaces.get(None, name)
        if namespace is None or meta.is_deleting(namespace):
            return
        try:
            await self._furnish(name)
        except (NotFound, Forbidden):
            # The namespace began to end between look and write.
            fresh = self._namespaces.get(None, name)
            if fresh is not None and not meta.is_deleting(fresh):
                raise

    async def _furnish(self, name: str) -> None:
        if self._accounts.get(name, "default") is None:
            account = _object("ServiceAccount", name, "default")
            with suppress(AlreadyExists):
                self._accounts.record(await self._client.create(SERVICE_ACCOUNTS, account))
        if not self._root_ca:
            return
        bundle = self._bundles.get(name, ROOT_CA)
        wanted = {"ca.crt": self._root_ca}
        if bundle is None:
            made = _object("ConfigMap", name, ROOT_CA)
            made["metadata"]["annotations"] = {"kubernetes.io/description": DESCRIPTION}
            with suppress(AlreadyExists):
                self._bundles.record(await self._client.create(CONFIG_MAPS, {**made, "data": wanted}))
        elif bundle.get("data") != wanted:
            fixed = {**bundle, "apiVersion": "v1", "kind": "ConfigMap", "data": wanted}
            self._bundles.record(await self._client.replace(CONFIG_MAPS, fixed))


def _object(kind: str, namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
