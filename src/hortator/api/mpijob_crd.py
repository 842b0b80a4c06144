"""The CustomResourceDefinition of MPIJob, made small enough for client-side apply.

Pod templates are opaque objects (the API server checks pods when they are made), so the whole stays far below the
262,144 bytes of kubectl's annotation. Schema defaults are exactly upstream's (0.8); enums, minimums, printer columns, the
short name and the scale subresource, which upstream lacks, are additions.
"""

from __future__ import annotations

from typing import Any

from hortator.api import mpijob as api

__all__ = ["crd"]

_STRING = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _count(minimum: int, width: str = "int32") -> dict[str, Any]:
    return {"type": "integer", "format": width, "minimum": minimum}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def _enum(values: tuple[str, ...], default: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    return schema if default is None else {**schema, "default": default}


def _spec() -> dict[str, Any]:
    quantity = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }
    scheduling_policy = _object(
        minAvailable={"type": "integer", "format": "int32"},
        queue=_STRING,
        minResources={"type": "object", "additionalProperties": quantity},
        priorityClass=_STRING,
        scheduleTimeoutSeconds={"type": "integer", "format": "int32"},
    )
    run_policy = _object(
        cleanPodPolicy=_enum(api.CLEAN_POD_POLICIES),
        ttlSecondsAfterFinished=_count(0),
        activeDeadlineSeconds=_count(0, "int64"),
        backoffLimit=_count(0),
        suspend={"type": "boolean", "default": False},
        managedBy=_enum(api.MANAGED_BY),
        schedulingPolicy=scheduling_policy,
    )
    replica = _object(replicas=_count(1), restartPolicy=_enum(api.RESTART_POLICIES), template=dict(_ANYTHING))
    return _object(
        ("mpiReplicaSpecs",),
        slotsPerWorker={**_count(0), "default": 1},
        runLauncherAsWorker={"type": "boolean", "default": False},
        sshAuthMountPath={"type": "string", "default": api.SSH_MOUNT_PATH},
        launcherCreationPolicy=_enum(api.LAUNCHER_CREATION_POLICIES, api.AT_STARTUP),
        mpiImplementation=_enum(api.IMPLEMENTATIONS, api.OPEN_MPI),
        # A free map, as upstream's: other keys are accepted and mean nothing.
        mpiReplicaSpecs={"type": "object", "additionalProperties": replica},
        runPolicy=run_policy,
    )


def _status() -> dict[str, Any]:
    condition = _object(
        ("status", "type"),
        type=_STRING,
        status=_enum(("True", "False", "Unknown")),
        reason=_STRING,
        message=_STRING,
        lastUpdateTime=_TIME,
        lastTransitionTime=_TIME,
    )
    replica = _object(
        active=_count(0),
        succeeded=_count(0),
        failed=_count(0),
        selector=_STRING,
        labelSelector=dict(_ANYTHING),
    )
    return _object(
        conditions={
            "type": "array",
            "items": condition,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
        replicaStatuses={"type": "object", "additionalProperties": replica},
        startTime=_TIME,
        completionTime=_TIME,
        lastReconcileTime=_TIME,
    )


def crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition ``mpijobs.kubeflow.org``, serving and storing v2beta1."""
    columns = [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        # The operator keeps the latest true condition last.
        {"name": "State", "type": "string", "jsonPath": ".status.conditions[-1:].type"},
        {"name": "Workers", "type": "integer", "jsonPath": ".status.replicaStatuses.Worker.active"},
        {"name": "Launcher", "type": "integer", "jsonPath": ".status.replicaStatuses.Launcher.active"},
    ]
    schema = _object(
        apiVersion=_STRING, kind=_STRING, metadata={"type": "object"}, spec=_spec(), status=_status()
    )
    version = {
        "name": api.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.mpiReplicaSpecs.Worker.replicas",
                "statusReplicasPath": ".status.replicaStatuses.Worker.active",
            },
        },
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{api.PLURAL}.{api.GROUP}"},
        "spec": {
            "group": api.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": api.KIND,
                "listKind": f"{api.KIND}List",
                "plural": api.PLURAL,
                "singular": "mpijob",
                "shortNames": ["mj"],
            },
            "versions": [version],
        },
    }
