from typing import Any

import pytest

from support.strategies import created, pod, strategy, texts

PODS = strategy("pods")


@pytest.mark.parametrize(
    ("parts", "quality"),
    [
        ({}, "BestEffort"),
        ({"container": {"resources": {"requests": {"cpu": "1"}}}}, "Burstable"),
        ({"container": {"resources": {"limits": {"cpu": "1"}}}}, "Burstable"),
        ({"container": {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}}, "Guaranteed"),
        ({"container": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}, "BestEffort"),
        (
            {
                "container": {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                "initContainers": [{"name": "i", "image": "x"}],
            },
            "Burstable",
        ),
        ({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, "Guaranteed"),
    ],
)
def test_a_new_pod_is_pending_and_knows_its_class_of_service(parts: dict[str, Any], quality: str) -> None:
    given = {**pod(**parts), "status": {"phase": "Running", "podIP": "10.0.0.1"}}
    assert created("pods", given)["status"] == {"phase": "Pending", "qosClass": quality}


def test_a_gated_pod_says_that_it_waits() -> None:
    made = created("pods", pod(schedulingGates=[{"name": "a/b"}]))
    (condition,) = made["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
    )


def test_label_keys_become_requirements() -> None:
    term = {
        "topologyKey": "zone",
        "labelSelector": {"matchLabels": {"a": "b"}},
        "matchLabelKeys": ["rev", "absent"],
    }
    given = pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    given["metadata"]["labels"] = {"rev": "7"}
    made = created("pods", given)
    (found,) = made["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert found["labelSelector"]["matchExpressions"] == [{"key": "rev", "operator": "In", "values": ["7"]}]


def test_an_update_keeps_the_status() -> None:
    old = created("pods", pod())
    new = {**old, "status": {"phase": "Failed"}}
    assert PODS.prepare_update(new, old)["status"] == old["status"]


def test_a_status_write_keeps_the_class_of_service() -> None:
    old = created("pods", pod())
    stored = PODS.prepare_status({**old, "status": {"phase": "Running"}}, old)
    assert stored["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def ended(code: int, restart_policy: str) -> dict[str, Any]:
    made = created("pods", pod(restartPolicy=restart_policy))
    state = {"terminated": {"exitCode": code}}
    return {**made, "status": {**made["status"], "containerStatuses": [{"name": "main", "state": state}]}}


@pytest.mark.parametrize(
    ("code", "policy", "allowed"),
    [
        (0, "Never", False),
        (1, "Never", False),
        (0, "OnFailure", False),
        (1, "OnFailure", True),
        (0, "Always", True),
    ],
)
def test_an_ended_container_starts_again_only_if_its_policy_says_so(
    code: int, policy: str, allowed: bool
) -> None:
    old = ended(code, policy)
    running = [{"name": "main", "state": {"running": {}}}]
    new = {**old, "status": {**old["status"], "containerStatuses": running}}
    errors = texts(PODS.validate_status(new, old))
    refused = [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    assert errors == ([] if allowed else refused)


def test_ephemeral_containers_are_added_through_their_own_path() -> None:
    old = created("pods", pod())
    added = PODS.default(
        {**old, "spec": {**old["spec"], "ephemeralContainers": [{"name": "dbg", "image": "x"}]}}
    )
    new = PODS.prepare_subresource(
        "ephemeralcontainers", {**added, "spec": {**added["spec"], "nodeName": "n"}}, old
    )
    assert "nodeName" not in new["spec"]
    assert new["spec"]["ephemeralContainers"][0]["imagePullPolicy"] == "Always"
    assert texts(PODS.validate_subresource("ephemeralcontainers", new, old)) == []
    removed = PODS.prepare_subresource("ephemeralcontainers", old, new)
    (error,) = texts(PODS.validate_subresource("ephemeralcontainers", removed, new))
    assert error.startswith(
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "dbg" may not be removed'
    )


def test_a_resize_changes_resources_only() -> None:
    old = created("pods", pod(container={"resources": {"requests": {"cpu": "1"}}}))
    container = {**old["spec"]["containers"][0], "image": "other", "resources": {"requests": {"cpu": "2"}}}
    new = PODS.prepare_subresource("resize", {**old, "spec": {"containers": [container]}}, old)
    assert new["spec"]["containers"][0]["image"] == "busybox"
    assert new["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    assert texts(PODS.validate_subresource("resize", new, old)) == []


def test_a_resize_keeps_the_class_of_service() -> None:
    old = created("pods", pod(container={"resources": {"requests": {"cpu": "1"}}}))
    container = {**old["spec"]["containers"][0], "resources": {}}
    new = PODS.prepare_subresource("resize", {**old, "spec": {"containers": [container]}}, old)
    errors = texts(PODS.validate_subresource("resize", new, old))
    assert 'spec: Invalid value: "BestEffort": Pod QOS Class may not change as a result of resizing' in errors


def test_pods_are_selected_by_node_phase_and_more() -> None:
    made = created("pods", pod(nodeName="n1"))
    fields = PODS.fields(made)
    assert (fields["spec.nodeName"], fields["status.phase"]) == ("n1", "Pending")
    assert fields["spec.schedulerName"] == "default-scheduler"


@pytest.mark.parametrize(("phase", "reason"), [("Succeeded", "Succeeded"), ("Failed", "Failed")])
def test_an_ended_pod_marks_its_row(phase: str, reason: str) -> None:
    (condition,) = PODS.row_conditions({"status": {"phase": phase}})
    assert (condition["type"], condition["reason"]) == ("Completed", reason)
    assert PODS.row_conditions({"status": {"phase": "Running"}}) == ()
