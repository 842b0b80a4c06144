"""The operator's caches: what of the cluster it keeps at hand, and how a job's objects are found in them.

Only objects that carry our label are held. Secrets are never listed or watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hortator.api import mpijob as api
from hortator.api.mpijob import MPIJob
from hortator.apimachinery import meta
from hortator.kube import resources
from hortator.kube.informer import Informer
from hortator.kube.manager import Manager
from hortator.kube.resources import Resource
from hortator.operator.mpijob import hostfile, objects
from hortator.operator.mpijob.observe import Observed, controlled_by, select_launcher_pods, select_workers
from hortator.operator.mpijob.settings import Settings

__all__ = ["MPIJOBS", "Caches"]

MPIJOBS: Final = Resource(api.GROUP, api.VERSION, api.PLURAL, api.KIND)

Object = dict[str, Any]
Key = tuple[str, str]

_PODS_OF_JOB = "mpijob"
_OWNED = (resources.PODS, resources.JOBS, resources.SERVICES, resources.CONFIG_MAPS)
_OWNED_BY_EXEC = (resources.SERVICE_ACCOUNTS, resources.ROLES, resources.ROLE_BINDINGS)


class Caches:
    """Everything that is observed. ``enqueue`` is called with the key of each job that something happened to."""

    def __init__(self, manager: Manager, settings: Settings, enqueue: Callable[[Key], None]) -> None:
        self.jobs: Informer[Object] = manager.informer(
            MPIJOBS, namespace=settings.namespace, trim=_without_managed_fields
        )
        self.jobs.on_change(lambda _kind, obj, _old: enqueue((meta.namespace_of(obj), meta.name_of(obj))))
        owned = _OWNED + (_OWNED_BY_EXEC if settings.launch_mode == "exec" else ())
        self._owned: dict[Resource, Informer[Object]] = {}
        for resource in owned:
            informer = manager.informer(
                resource, namespace=settings.namespace, labels=objects.SELECTOR, trim=_without_managed_fields
            )
            self._owned[resource] = informer
        self._owned[resources.PODS].add_index(_PODS_OF_JOB, _job_of)

        def changed(_kind: str, obj: Mapping[str, Any], _old: Mapping[str, Any] | None) -> None:
            name = meta.labels_of(obj).get(api.LABEL_JOB)
            if name:
                enqueue((meta.namespace_of(obj), name))

        for informer in self._owned.values():
            informer.on_change(changed)

    def observe(self, job: MPIJob) -> Observed:
        """Return a job and the objects that it controls."""
        launcher = hostfile.launcher_name(job)
        pods = self._owned[resources.PODS].by_index(_PODS_OF_JOB, f"{job.namespace}/{job.name}")
        found = self._find(resources.JOBS, job, launcher)
        return Observed(
            job=job,
            service=self._find(resources.SERVICES, job, job.name),
            config_map=self._find(resources.CONFIG_MAPS, job, objects.config_name(job)),
            account=self._find(resources.SERVICE_ACCOUNTS, job, launcher),
            role=self._find(resources.ROLES, job, launcher),
            binding=self._find(resources.ROLE_BINDINGS, job, launcher),
            launcher=found,
            launcher_pods=select_launcher_pods(found, pods),
            workers=select_workers(job, pods),
        )

    def record(self, resource: Resource, obj: Object) -> None:
        """Show an own write at once."""
        informer = self.jobs if resource is MPIJOBS else self._owned.get(resource)
        if informer is not None:
            informer.record(obj)

    def forget(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Show an own deletion at once; only for an object that is gone."""
        informer = self._owned.get(resource)
        if informer is not None:
            informer.forget(namespace, name, uid)

    def _find(self, resource: Resource, job: MPIJob, name: str) -> Mapping[str, Any] | None:
        informer = self._owned.get(resource)
        return controlled_by(informer.get(job.namespace, name), job.uid) if informer is not None else None


def _job_of(pod: Mapping[str, Any]) -> Iterable[str]:
    name = meta.labels_of(pod).get(api.LABEL_JOB)
    return (f"{meta.namespace_of(pod)}/{name}",) if name else ()


def _without_managed_fields(obj: Object) -> Object:
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
