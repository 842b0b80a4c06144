"""PersistentVolumeClaims become directories: a StorageClass ``local``, and a PersistentVolume for each claim
of it.

Volumes that somebody made by hand are bound to claims that fit them. A volume whose claim is gone is deleted
with its directory (reclaim policy Delete) or kept (Retain). Directories are made and removed only below the
data folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hortator.apimachinery import meta
from hortator.apimachinery.quantity import parse
from hortator.apimachinery.selectors import LabelSelector
from hortator.kube.errors import AlreadyExists, NotFound
from hortator.kube.manager import Controller, Manager
from hortator.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource

if TYPE_CHECKING:
    from hortator.kube.events import Recorder

__all__ = ["VolumeController", "best_volume", "directory_name"]

Object = Mapping[str, Any]

STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
CLASS = "local"
PROVISIONER = "hortator.dev/directory"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BOUND = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROTECTION = "kubernetes.io/pvc-protection"


def directory_name(claim: Object) -> str:
    """Return the name of a claim's directory: readable, and unique for ever."""
    return f"{meta.namespace_of(claim)}-{meta.name_of(claim)}-{meta.uid_of(claim)}"


def _storage(resources: Object | None) -> Any:
    return parse((resources or {}).get("storage") or "0")


def best_volume(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """Return the volume for a claim: the one reserved for it, else the smallest free one that fits."""
    spec = claim["spec"]
    wanted = _storage((spec.get("resources") or {}).get("requests"))
    selector = LabelSelector.from_object(spec["selector"]) if spec.get("selector") else None
    fitting = []
    for volume in volumes:
        owner = volume["spec"].get("claimRef")
        if owner:
            if _is_for(owner, claim):
                return volume
            continue
        if spec.get("volumeName"):
            if meta.name_of(volume) == spec["volumeName"]:
                return volume
            continue
        if (
            not meta.is_deleting(volume)
            and (volume["spec"].get("storageClassName") or "") == (spec.get("storageClassName") or "")
            and set(spec.get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())
            and (volume["spec"].get("volumeMode") or "Filesystem") == (spec.get("volumeMode") or "Filesystem")
            and (selector is None or selector.matches(meta.labels_of(volume)))
            and _storage(volume["spec"].get("capacity")) >= wanted
        ):
            fitting.append(volume)
    return min(fitting, key=lambda one: _storage(one["spec"].get("capacity")), default=None)


def _is_for(reference: Object, claim: Object) -> bool:
    if reference.get("namespace") != meta.namespace_of(claim) or reference.get("name") != meta.name_of(claim):
        return False
    return reference.get("uid") in (None, "", meta.uid_of(claim))


class VolumeController:
    """Keys are ("claim", namespace, name) and ("volume", "", name)."""

    def __init__(self, manager: Manager, *, recorder: Recorder, data_dir: Path) -> None:
        self._client = manager.client
        self._recorder = recorder
        self._root = data_dir / "volumes"
        self._classes = manager.informer(STORAGE_CLASSES)
        self._claims = manager.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = manager.informer(PERSISTENT_VOLUMES)
        self._pods = manager.informer(PODS, indexes={"claim": _by_claim})
        self._controller = manager.add(Controller("volumes", self._reconcile, workers=1))
        self._classes.on_change(lambda kind, obj, old: self._look_at_waiting())
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._pods.on_change(self._pod_changed)
        manager.add_service("storage class", self._ensure_class)

    async def _ensure_class(self) -> None:
        """Make the StorageClass once; what its owner changes or deletes later stays so until the next start."""
        made = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": CLASS, "annotations": {DEFAULT: "true"}},
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        }
        if self._classes.get(None, CLASS) is None:
            with suppress(AlreadyExists):
                self._classes.record(await self._client.create(STORAGE_CLASSES, made))

    # What is seen

    def _look_at_waiting(self) -> None:
        for claim in self._claims.values():
            if not _is_bound(claim):
                self._controller.enqueue(_claim_key(claim))

    def _claim_changed(self, kind: str, claim: Object, _: object) -> None:
        self._controller.enqueue(_claim_key(claim))
        if kind == "deleted":
            for volume in self._volumes.values():
                owner = volume["spec"].get("claimRef") or {}
                if owner.get("uid") == meta.uid_of(claim):
                    self._controller.enqueue(("volume", "", meta.name_of(volume)))

    def _volume_changed(self, kind: str, volume: Object, _: object) -> None:
        if kind != "deleted":
            self._controller.enqueue(("volume", "", meta.name_of(volume)))
        owner = volume["spec"].get("claimRef")
        if owner:
            self._controller.enqueue(("claim", owner.get("namespace") or "", owner.get("name") or ""))
        else:
            self._look_at_waiting()

    def _pod_changed(self, kind: str, pod: Object, _: object) -> None:
        if kind == "deleted" or _ended(pod):
            for key in _by_claim(pod, ended=True):
                namespace, _, name = key.partition("/")
                claim = self._claims.get(namespace, name)
                if claim is not None and meta.is_deleting(claim):
                    self._controller.enqueue(_claim_key(claim))

    async def _reconcile(self, key: tuple[str, str, str]) -> None:
        kind, namespace, name = key
        if kind == "claim":
            claim = self._claims.get(namespace, name)
            if claim is not None:
                await self._claim(claim)
            return
        volume = self._volumes.get(None, name)
        if volume is not None:
            await self._volume(volume)

    # Claims

    async def _claim(self, claim: Object) -> None:
        if meta.is_deleting(claim):
            await self._let_go(claim)
            return
        if _is_bound(claim):
            await self._check_bound(claim)
            return
        claim = await self._with_class(claim)
        volume = best_volume(claim, self._volumes.values())
        if volume is None:
            volume = await self._provision(claim)
        if volume is not None:
            await self._bind(claim, volume)

    async def _with_class(self, claim: Object) -> Object:
        """Give a claim that names no class the default one (upstream: retroactively as well, KEP-3333)."""
        if claim["spec"].get("storageClassName") is not None:
            return claim
        default = next(
            (one for one in self._classes.values() if meta.annotations_of(one).get(DEFAULT) == "true"), None
        )
        if default is None:
            return claim
        return await self._patch_claim(claim, {"spec": {"storageClassName": meta.name_of(default)}})

    async def _provision(self, claim: Object) -> Object | None:
        name = claim["spec"].get("storageClassName")
        if not name:
            self._recorder.event(
                _subject(claim, "PersistentVolumeClaim"),
                "Normal",
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            )
            return None
        storage_class = self._classes.get(None, name)
        if storage_class is None:
            self._warn(claim, f'storageclass.storage.k8s.io "{name}" not found')
            return None
        if storage_class.get("provisioner") != PROVISIONER:
            # Somebody else's; a volume that appears for the claim is bound.
            return None
        if claim["spec"].get("volumeMode") == "Block":
            self._warn(claim, "a directory cannot be a block device: volumeMode must be Filesystem")
            return None
        path = self._root / directory_name(claim)
        try:
            await asyncio.to_thread(_make_directory, path)
        except OSError as error:
            self._warn(claim, f"cannot make {path}: {error.strerror}")
            raise
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"pvc-{meta.uid_of(claim)}",
                "annotations": {PROVISIONED_BY: PROVISIONER},
            },
            "spec": {
                "capacity": {
                    "storage": (claim["spec"].get("resources") or {}).get("requests", {}).get("storage", "0")
                },
                "accessModes": claim["spec"].get("accessModes"),
                "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
                "storageClassName": name,
                "volumeMode": "Filesystem",
                "hostPath": {"path": str(path), "type": "Directory"},
                "claimRef": _reference(claim),
            },
        }
        try:
            made = await self._client.create(PERSISTENT_VOLUMES, volume)
        except AlreadyExists:
            made = await self._client.get(PERSISTENT_VOLUMES, f"pvc-{meta.uid_of(claim)}")
        self._volumes.record(made)
        self._recorder.event(
            _subject(claim, "PersistentVolumeClaim"),
            "Normal",
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {meta.name_of(made)}",
        )
        return made

    async def _bind(self, claim: Object, volume: Object) -> None:
        owner = volume["spec"].get("claimRef") or {}
        if owner.get("uid") != meta.uid_of(claim):
            patch = {
                "metadata": {"resourceVersion": volume["metadata"]["resourceVersion"]},
                "spec": {"claimRef": _reference(claim)},
            }
            volume = await self._client.patch(PERSISTENT_VOLUMES, meta.name_of(volume), patch)
            self._volumes.record(volume)
        finalizers = list(claim["metadata"].get("finalizers") or ())
        claim = await self._patch_claim(
            claim,
            {
                "metadata": {
                    "annotations": {BOUND: "yes", BOUND_BY_CONTROLLER: "yes"},
                    "finalizers": finalizers if PROTECTION in finalizers else [*finalizers, PROTECTION],
                },
                "spec": {"volumeName": meta.name_of(volume)},
            },
        )
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes"),
            "capacity": volume["spec"].get("capacity"),
        }
        await self._patch_claim(claim, {"status": status}, subresource="status")

    async def _check_bound(self, claim: Object) -> None:
        """A claim whose volume is gone is lost."""
        status = claim.get("status") or {}
        volume = self._volumes.get(None, claim["spec"].get("volumeName") or "")
        if volume is not None or status.get("phase") == "Lost":
            return
        await self._patch_claim(claim, {"status": {"phase": "Lost"}}, subresource="status")
        self._recorder.event(
            _subject(claim, "PersistentVolumeClaim"),
            "Warning",
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        )

    async def _let_go(self, claim: Object) -> None:
        """A claim that is being deleted stays while a pod uses it."""
        finalizers = list(claim["metadata"].get("finalizers") or ())
        if PROTECTION not in finalizers:
            return
        if self._pods.by_index("claim", f"{meta.namespace_of(claim)}/{meta.name_of(claim)}"):
            return
        left = [one for one in finalizers if one != PROTECTION]
        with suppress(NotFound):
            await self._patch_claim(claim, {"metadata": {"finalizers": left or None}})

    async def _patch_claim(
        self, claim: Object, patch: dict[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        # The version makes sure that nothing decided here rests on an older claim of that name.
        metadata = {
            **patch.get("metadata", {}),
            "uid": meta.uid_of(claim),
            "resourceVersion": claim["metadata"].get("resourceVersion"),
        }
        made = await self._client.patch(
            PERSISTENT_VOLUME_CLAIMS,
            meta.name_of(claim),
            {**patch, "metadata": metadata},
            namespace=meta.namespace_of(claim),
            subresource=subresource,
        )
        self._claims.record(made)
        return made

    def _warn(self, claim: Object, message: str) -> None:
        self._recorder.event(
            _subject(claim, "PersistentVolumeClaim"), "Warning", "ProvisioningFailed", message
        )

    # Volumes

    async def _volume(self, volume: Object) -> None:
        phase = (volume.get("status") or {}).get("phase") or "Pending"
        owner = volume["spec"].get("claimRef") or {}
        if not owner.get("uid"):
            if phase != "Available" and not meta.is_deleting(volume):
                await self._phase(volume, "Available")
            return
        claim = self._claims.get(owner.get("namespace"), owner.get("name") or "")
        if claim is not None and meta.uid_of(claim) == owner["uid"]:
            if phase != "Bound":
                await self._phase(volume, "Bound")
            return
        # Data goes next, so a cache that may be behind is not enough to know that the claim is gone.
        with suppress(NotFound):
            fresh = await self._client.get(
                PERSISTENT_VOLUME_CLAIMS, owner["name"], namespace=owner["namespace"]
            )
            if meta.uid_of(fresh) == owner["uid"]:
                return
        if phase != "Released" and not meta.is_deleting(volume):
            volume = await self._phase(volume, "Released")
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            await self._reclaim(volume)

    async def _reclaim(self, volume: Object) -> None:
        if meta.annotations_of(volume).get(PROVISIONED_BY) != PROVISIONER:
            return
        path = Path((volume["spec"].get("hostPath") or {}).get("path") or "/")
        if path.parent != self._root:
            self._recorder.event(
                _subject(volume, "PersistentVolume"),
                "Warning",
                "VolumeFailedDelete",
                f"{path} is not below {self._root}, so it is left alone",
            )
            await self._phase(volume, "Failed")
            return
        try:
            await asyncio.to_thread(_remove_directory, path)
        except OSError as error:
            self._recorder.event(
                _subject(volume, "PersistentVolume"),
                "Warning",
                "VolumeFailedDelete",
                f"cannot remove {path}: {error.strerror}",
            )
            raise
        with suppress(NotFound):
            await self._client.delete(PERSISTENT_VOLUMES, meta.name_of(volume), uid=meta.uid_of(volume))

    async def _phase(self, volume: Object, phase: str) -> dict[str, Any]:
        made = await self._client.patch(
            PERSISTENT_VOLUMES, meta.name_of(volume), {"status": {"phase": phase}}, subresource="status"
        )
        self._volumes.record(made)
        return made


def _make_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


def _remove_directory(path: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def _claim_key(claim: Object) -> tuple[str, str, str]:
    return ("claim", meta.namespace_of(claim), meta.name_of(claim))


def _is_bound(claim: Object) -> bool:
    return (
        bool(claim["spec"].get("volumeName"))
        and BOUND in meta.annotations_of(claim)
        and (claim.get("status") or {}).get("phase") in ("Bound", "Lost")
    )


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _by_claim(pod: Object, *, ended: bool = False) -> tuple[str, ...]:
    """Return the claims that a pod uses; one that has ended uses none, unless asked for."""
    if _ended(pod) and not ended:
        return ()
    namespace = meta.namespace_of(pod)
    return tuple(
        f"{namespace}/{volume['persistentVolumeClaim']['claimName']}"
        for volume in pod["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    )


def _reference(claim: Object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace_of(claim),
        "name": meta.name_of(claim),
        "uid": meta.uid_of(claim),
        "resourceVersion": claim["metadata"].get("resourceVersion"),
    }


def _subject(obj: Object, kind: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": obj["metadata"]}
