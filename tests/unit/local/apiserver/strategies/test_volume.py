from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused

CLAIMS, VOLUMES, CLASSES = "persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io"


def claim(size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    return named(
        "data", spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    )


def volume(**spec: Any) -> dict[str, Any]:
    base = {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    return named("pv", spec={**base, **spec})


def test_claims_and_volumes_begin_pending() -> None:
    made = created(CLAIMS, claim())
    assert (made["spec"]["volumeMode"], made["status"]) == ("Filesystem", {"phase": "Pending"})
    made = created(VOLUMES, volume())
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert made["status"] == {"phase": "Pending"}


@pytest.mark.parametrize(
    ("obj", "start"),
    [
        (claim(accessModes=[]), "spec.accessModes: Required value: at least 1 access mode is required"),
        (
            claim(accessModes=["Any"]),
            'spec.accessModes: Unsupported value: "Any": supported values: "ReadOnlyMany"',
        ),
        (
            claim(accessModes=["ReadWriteOnce", "ReadWriteOncePod"]),
            "spec.accessModes: Forbidden: may not use ReadWriteOn",
        ),
        (claim(resources={}), "spec.resources[storage]: Required value"),
        (claim("0"), 'spec.resources[storage]: Invalid value: "0": must be greater than zero'),
        (
            claim(volumeMode="Tape"),
            'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
        ),
    ],
)
def test_bad_claims(obj: dict[str, Any], start: str) -> None:
    (error,) = refused(CLAIMS, obj)
    assert error.startswith(start)


@pytest.mark.parametrize(
    ("obj", "start"),
    [
        (volume(capacity={}), "spec.capacity: Required value"),
        (
            volume(capacity={"cpu": "1"}),
            'spec.capacity: Unsupported value: {"cpu":"1"}: supported values: "storage"',
        ),
        (volume(hostPath=None), "spec: Required value: must specify a volume type"),
        (
            volume(nfs={"path": "/", "server": "s"}),
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ),
        (
            volume(hostPath=None, local={"path": "/x"}),
            "spec.nodeAffinity: Required value: Local volume requires node",
        ),
        (
            volume(persistentVolumeReclaimPolicy="Burn"),
            'spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn"',
        ),
    ],
)
def test_bad_volumes(obj: dict[str, Any], start: str) -> None:
    (error,) = refused(VOLUMES, obj)
    assert error.startswith(start)


def test_a_claim_may_be_bound_and_nothing_else() -> None:
    old = created(CLAIMS, claim())
    bound = {**old, "spec": {**old["spec"], "volumeName": "pv"}}
    assert changed(CLAIMS, old, bound) == []
    (error,) = changed(CLAIMS, old, {**old, "spec": claim("2Gi")["spec"]})
    assert error.startswith("spec: Forbidden: spec is immutable after creation except resources.requests")


def test_a_bound_claim_may_grow() -> None:
    old = {**created(CLAIMS, claim()), "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    larger = {**old, "spec": {**old["spec"], "resources": {"requests": {"storage": "2Gi"}}}}
    assert changed(CLAIMS, old, larger) == []
    smaller = {**old, "spec": {**old["spec"], "resources": {"requests": {"storage": "512Mi"}}}}
    assert changed(CLAIMS, old, smaller) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_the_source_of_a_volume_is_fixed() -> None:
    old = created(VOLUMES, volume())
    (error,) = changed(VOLUMES, old, volume(hostPath={"path": "/y"}))
    assert error.endswith("Forbidden: spec.persistentvolumesource is immutable after creation")


def test_columns_of_a_claim() -> None:
    made = created(CLAIMS, claim(storageClassName="fast"))
    row = cells(CLAIMS, made)
    assert (row["Status"], row["Capacity"], row["StorageClass"]) == ("Pending", "", "fast")
    bound = {
        **made,
        "spec": {**made["spec"], "volumeName": "pv"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
    }
    row = cells(CLAIMS, bound)
    assert (row["Status"], row["Volume"], row["Capacity"], row["Access Modes"]) == (
        "Bound",
        "pv",
        "1Gi",
        "RWO",
    )


def test_columns_of_a_volume() -> None:
    row = cells(VOLUMES, created(VOLUMES, volume(claimRef={"namespace": "d", "name": "data"})))
    assert (row["Claim"], row["Access Modes"], row["Reclaim Policy"]) == ("d/data", "RWX", "Retain")


def test_storage_classes() -> None:
    made = created(CLASSES, named("fast", provisioner="example.com/disk"))
    assert (made["reclaimPolicy"], made["volumeBindingMode"]) == ("Delete", "Immediate")
    assert changed(CLASSES, made, {**made, "provisioner": "example.com/tape"}) == [
        "provisioner: Forbidden: updates to provisioner are forbidden."
    ]
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    assert cells(CLASSES, named("fast", metadata=default))["Name"] == "fast (default)"
