from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused, template

DEPLOYMENTS, REPLICASETS = "deployments.apps", "replicasets.apps"
STATEFULSETS, DAEMONSETS = "statefulsets.apps", "daemonsets.apps"
SELECTOR = {"matchLabels": {"app": "a"}}
WORKLOADS = pytest.mark.parametrize("resource", [DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS])


def workload(**spec: Any) -> dict[str, Any]:
    return named("web", spec={"selector": SELECTOR, "template": template(**spec.pop("pod", {})), **spec})


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        (
            DEPLOYMENTS,
            {
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                },
            },
        ),
        (REPLICASETS, {"replicas": 1}),
        (
            STATEFULSETS,
            {
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            },
        ),
        (
            DAEMONSETS,
            {
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
                }
            },
        ),
    ],
)
def test_defaults(resource: str, found: dict[str, Any]) -> None:
    spec = created(resource, workload())["spec"]
    assert {key: spec.get(key) for key in found} == found


def test_no_replicas_is_a_number_of_replicas() -> None:
    assert created(DEPLOYMENTS, workload(replicas=0))["spec"]["replicas"] == 0


@WORKLOADS
def test_good_ones_pass(resource: str) -> None:
    assert refused(resource, workload()) == []


@WORKLOADS
def test_the_selector_must_select_the_template(resource: str) -> None:
    assert refused(resource, workload(selector={"matchLabels": {"app": "b"}})) == [
        'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`'
    ]


@WORKLOADS
def test_the_selector_is_needed_and_not_empty(resource: str) -> None:
    (error, *_) = refused(resource, workload(selector={}))
    assert error.startswith("spec.selector: Invalid value: {}: empty selector is invalid for")


@WORKLOADS
def test_pods_must_restart_always(resource: str) -> None:
    assert (
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
        in refused(resource, workload(pod={"restartPolicy": "Never"}))
    )


@WORKLOADS
def test_the_selector_is_fixed(resource: str) -> None:
    old = created(resource, workload())
    new = {
        **old,
        "spec": {
            **old["spec"],
            "selector": {
                "matchLabels": {"app": "a"},
                "matchExpressions": [{"key": "app", "operator": "Exists"}],
            },
        },
    }
    assert len(changed(resource, old, new)) == 1


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            "spec.strategy.rollingUpdate: Forbidden: may not be",
        ),
        ({"strategy": {"type": "Other"}}, 'spec.strategy: Unsupported value: "Other"'),
        (
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            "spec.progressDeadlineSeconds: Invalid value: 5: must be",
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": "many"}}},
            "spec.strategy.rollingUpdate.maxSurge: Invalid value",
        ),
    ],
)
def test_one_thing_wrong_with_a_deployment(spec: dict[str, Any], start: str) -> None:
    (error,) = refused(DEPLOYMENTS, workload(**spec))
    assert error.startswith(start)


def test_claims_of_a_stateful_set_are_volumes_of_its_pods() -> None:
    mounts = {"container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}}
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    assert refused(STATEFULSETS, workload(pod=mounts, volumeClaimTemplates=[claim])) == []
    (error,) = refused(STATEFULSETS, workload(pod=mounts))
    assert error.endswith('Not found: "data"')


def test_little_of_a_stateful_set_may_change() -> None:
    old = created(STATEFULSETS, workload(serviceName="web"))
    assert changed(STATEFULSETS, old, {**old, "spec": {**old["spec"], "replicas": 5}}) == []
    (error,) = changed(STATEFULSETS, old, {**old, "spec": {**old["spec"], "serviceName": "other"}})
    assert error.startswith("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'")


def test_a_replication_controller_takes_its_selector_from_its_template() -> None:
    made = created("replicationcontrollers", named("rc", spec={"template": template()}))
    assert made["spec"]["selector"] == {"app": "a"}
    assert made["metadata"]["labels"] == {"app": "a"}


@pytest.mark.parametrize(
    ("resource", "status", "row"),
    [
        (
            DEPLOYMENTS,
            {"readyReplicas": 1, "updatedReplicas": 2},
            {"Ready": "1/1", "Up-to-date": 2, "Selector": "app=a"},
        ),
        (REPLICASETS, {"replicas": 1}, {"Desired": 1, "Current": 1, "Ready": 0}),
        (STATEFULSETS, {"readyReplicas": 1}, {"Ready": "1/1", "Images": "busybox"}),
        (DAEMONSETS, {"desiredNumberScheduled": 4}, {"Desired": 4, "Node Selector": "<none>"}),
    ],
)
def test_columns(resource: str, status: dict[str, Any], row: dict[str, Any]) -> None:
    shown = cells(resource, {**created(resource, workload()), "status": status})
    assert {key: shown[key] for key in row} == row
