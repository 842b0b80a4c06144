"""ServiceAccount: every pod runs as an account of its namespace, with its token mounted, as upstream (1.36)."""

from __future__ import annotations

import asyncio
from typing import Any

from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.admission.plugin import CREATE, Attempt, Plugin
from hortator.local.apiserver.objects import generate_name
from hortator.local.apiserver.storage import DELETED, Event, Storage

__all__ = ["MOUNT_PATH", "ServiceAccounts"]

Object = dict[str, Any]

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_TOKEN_SECONDS = 3607
#: How long a pod in a new namespace waits for the namespace's default account.
_WAIT_SECONDS = 1.0
_MIRROR = "kubernetes.io/config.mirror"


class ServiceAccounts(Plugin):
    """Sets the account of new pods, and mounts its token."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: dict[tuple[str, str], asyncio.Event] = {}
        storage.collection("/serviceaccounts").readers.add(self)

    def offer(self, event: Event) -> None:
        """Wake pods that wait for an account."""
        if event.kind != DELETED:
            waiting = self._waiting.get((event.item.namespace, event.item.name))
            if waiting is not None:
                waiting.set()

    async def mutate(self, attempt: Attempt) -> None:
        """Complete a new pod. Raises 403 when its account does not exist."""
        if attempt.operation != CREATE or not attempt.is_for("/pods") or attempt.obj is None:
            return
        pod = attempt.obj
        spec: Object = {**(pod.get("spec") or {})}
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        account = await self._account(attempt, name)
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        automount = spec.get("automountServiceAccountToken")
        if automount is None:
            automount = account.get("automountServiceAccountToken")
        if automount is None or automount:
            _mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]
        attempt.obj = {**pod, "spec": spec}

    async def _account(self, attempt: Attempt, name: str) -> Object:
        key = (attempt.namespace, name)
        item = self._storage.get("/serviceaccounts", *key)
        if item is None and name == "default":
            # The account of a new namespace is made by a controller a moment later.
            waiting = self._waiting.setdefault(key, asyncio.Event())
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await waiting.wait()
            except TimeoutError:
                pass
            finally:
                self._waiting.pop(key, None)
            item = self._storage.get("/serviceaccounts", *key)
        if item is None:
            raise StatusError.forbidden(
                "pods",
                "",
                attempt.name,
                f"error looking up service account {attempt.namespace}/{name}: "
                f'serviceaccount "{name}" not found',
            )
        return item.decode()


def _mount(spec: Object) -> None:
    volumes = list(spec.get("volumes") or [])
    volume = next((each["name"] for each in volumes if each.get("name", "").startswith(_VOLUME_PREFIX)), "")
    used = False
    for key in ("initContainers", "containers"):
        containers = spec.get(key)
        if not containers:
            continue
        result = []
        for container in containers:
            mounts = container.get("volumeMounts") or []
            if not any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                volume = volume or generate_name(_VOLUME_PREFIX)
                used = True
                mount = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
                container = {**container, "volumeMounts": [*mounts, mount]}
            result.append(container)
        spec[key] = result
    if used and not any(each.get("name") == volume for each in volumes):
        spec["volumes"] = [*volumes, {"name": volume, "projected": _sources()}]


def _sources() -> Object:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ],
    }
