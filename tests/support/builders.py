"""Builders of test objects: ``mpijob("pi").workers(2).slots(2).launcher("mpirun", "hostname").build()``.

Each method returns a changed copy, so that a half-built object can be shared.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MPIJobBuilder", "job", "mpijob", "pod"]

Object = dict[str, Any]


class MPIJobBuilder:
    """An MPIJob in the making; starts with a launcher that runs ``mpirun true`` and no workers."""

    def __init__(self, name: str, namespace: str) -> None:
        container = {"name": "main", "image": "mpi", "command": ["mpirun", "true"]}
        self._obj: Object = {
            "apiVersion": "kubeflow.org/v2beta1",
            "kind": "MPIJob",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"mpiReplicaSpecs": {"Launcher": {"template": {"spec": {"containers": [container]}}}}},
        }

    def build(self) -> Object:
        """Return the object; it shares nothing with the builder's next one."""
        return _copy(self._obj)

    def with_(self, path: str, value: Any) -> MPIJobBuilder:
        """Set a field by its dotted path, such as ``spec.runPolicy.suspend``; list items by number."""
        made = MPIJobBuilder.__new__(MPIJobBuilder)
        made._obj = _copy(self._obj)
        *parents, last = path.split(".")
        at: Any = made._obj
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        at[int(last) if isinstance(at, list) else last] = value
        return made

    def launcher(self, *command: str, **container: Any) -> MPIJobBuilder:
        made = {
            "name": "main",
            "image": "mpi",
            **({"command": list(command)} if command else {}),
            **container,
        }
        return self.with_("spec.mpiReplicaSpecs.Launcher.template.spec.containers", [made])

    def launcher_spec(self, **fields: Any) -> MPIJobBuilder:
        """Set fields of the launcher's pod spec."""
        made = self
        for key, value in fields.items():
            made = made.with_(f"spec.mpiReplicaSpecs.Launcher.template.spec.{key}", value)
        return made

    def workers(self, replicas: int, *command: str, **container: Any) -> MPIJobBuilder:
        made = {
            "name": "main",
            "image": "mpi",
            **({"command": list(command)} if command else {}),
            **container,
        }
        replica = {"replicas": replicas, "template": {"spec": {"containers": [made]}}}
        return self.with_("spec.mpiReplicaSpecs.Worker", replica)

    def scaled(self, replicas: int) -> MPIJobBuilder:
        return self.with_("spec.mpiReplicaSpecs.Worker.replicas", replicas)

    def worker_spec(self, **fields: Any) -> MPIJobBuilder:
        """Set fields of the workers' pod spec."""
        made = self
        for key, value in fields.items():
            made = made.with_(f"spec.mpiReplicaSpecs.Worker.template.spec.{key}", value)
        return made

    def slots(self, slots: int) -> MPIJobBuilder:
        return self.with_("spec.slotsPerWorker", slots)

    def implementation(self, name: str) -> MPIJobBuilder:
        return self.with_("spec.mpiImplementation", name)

    def launcher_as_worker(self) -> MPIJobBuilder:
        return self.with_("spec.runLauncherAsWorker", True)

    def waiting(self) -> MPIJobBuilder:
        return self.with_("spec.launcherCreationPolicy", "WaitForWorkersReady")

    def policy(self, **fields: Any) -> MPIJobBuilder:
        """Set fields of ``spec.runPolicy``."""
        made = self
        for key, value in fields.items():
            made = made.with_(f"spec.runPolicy.{key}", value)
        return made

    def suspended(self, suspend: bool = True) -> MPIJobBuilder:
        return self.policy(suspend=suspend)

    def status(self, status: Object) -> MPIJobBuilder:
        return self.with_("status", status)


def mpijob(name: str = "pi", namespace: str = "default") -> MPIJobBuilder:
    """Start an MPIJob as an API server has stored it."""
    return MPIJobBuilder(name, namespace)


def pod(obj: Object, phase: str = "Pending", *, ready: bool = False, **status: Any) -> Object:
    """Return a pod as stored, with a phase reported by its node."""
    listed = [{"type": "Ready", "status": "True" if ready else "False"}]
    return stored({**obj, "status": {"phase": phase, "conditions": listed, **status}})


def job(obj: Object, ended: str = "", reason: str = "", message: str = "", **status: Any) -> Object:
    """Return a batch Job as stored; ``ended`` is ``Complete`` or ``Failed``."""
    if ended:
        status["conditions"] = [{"type": ended, "status": "True", "reason": reason, "message": message}]
    return stored({**obj, "status": status})


def stored(obj: Object) -> Object:
    """Return an object as an API server answers its creation."""
    metadata = {
        "uid": f"uid-{obj['kind']}-{obj['metadata']['name']}",
        "resourceVersion": "1",
        **obj["metadata"],
    }
    return {**_copy(obj), "metadata": metadata}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copy(each) for each in value]
    return value
