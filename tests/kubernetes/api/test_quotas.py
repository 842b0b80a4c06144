"""Quotas, limits, priorities and accounts: what admission adds to a pod and what it refuses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.server import MERGE, Server
from support.staying import until

Object = dict[str, Any]
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"


def pod(name: str = "p", resources: Object | None = None, **spec: Any) -> Object:
    """Return a pod that fits no node."""
    container = {"name": "main", "image": "none", "command": ["true"]}
    if resources:
        container["resources"] = resources
    return {
        "metadata": {"name": name},
        "spec": {"nodeSelector": {"none": "such"}, "containers": [container], **spec},
    }


@pytest.fixture
def at(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}"


@pytest.fixture
def quota(server: Server, at: str) -> Callable[..., None]:
    """Makes a quota and waits until it is counted."""

    def make(hard: dict[str, str], **spec: Any) -> None:
        server.post(f"{at}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}}).ok  # noqa: B018
        until(lambda: server.get(f"{at}/resourcequotas/q").ok["status"].get("hard") == hard, "its status")

    return make


def used(server: Server, at: str) -> Object:
    return dict(server.get(f"{at}/resourcequotas/q").ok["status"]["used"])


def test_a_quota_counts_and_refuses(server: Server, at: str, quota: Callable[..., None]) -> None:
    quota({"pods": "1", "requests.cpu": "2", "limits.memory": "1Gi"})
    resources = {"requests": {"cpu": "1500m"}, "limits": {"cpu": "2", "memory": "512Mi"}}
    server.post(f"{at}/pods", pod(resources=resources)).ok  # noqa: B018
    assert used(server, at) == {"pods": "1", "requests.cpu": "1500m", "limits.memory": "512Mi"}
    answer = server.post(f"{at}/pods", pod("more", resources))
    assert answer.refusal[:2] == (403, "Forbidden")
    assert answer.body["message"] == (
        'pods "more" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=1500m, used: '
        "pods=1,requests.cpu=1500m, limited: pods=1,requests.cpu=2"
    )
    server.delete(f"{at}/pods/p").ok  # noqa: B018
    until(
        lambda: used(server, at) == {"pods": "0", "requests.cpu": "0", "limits.memory": "0"},
        "that it is free again",
    )


def test_a_quota_wants_to_know_what_it_counts(server: Server, at: str, quota: Callable[..., None]) -> None:
    quota({"requests.cpu": "2", "limits.memory": "1Gi"})
    answer = server.post(f"{at}/pods", pod())
    assert answer.refusal[:2] == (403, "Forbidden")
    assert answer.body["message"] == (
        'pods "p" is forbidden: failed quota: q: must specify limits.memory for: main; requests.cpu for: main'
    )


def test_objects_are_counted_by_name(server: Server, at: str, quota: Callable[..., None]) -> None:
    # The namespace's own ConfigMap is one of them.
    until(lambda: server.get(f"{at}/configmaps/kube-root-ca.crt").status == 200, "the namespace's own")
    quota({"count/configmaps": "2", "count/jobs.batch": "0"})
    server.post(f"{at}/configmaps", {"metadata": {"name": "a"}}).ok  # noqa: B018
    answer = server.post(f"{at}/configmaps", {"metadata": {"name": "b"}})
    assert (
        "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=2" in answer.body["message"]
    )
    # A dry run is refused the same, and costs nothing where it is not.
    assert server.post(f"{at}/configmaps", {"metadata": {"name": "b"}}, query={"dryRun": "All"}).status == 403
    assert used(server, at) == {"count/configmaps": "2", "count/jobs.batch": "0"}


@pytest.mark.parametrize(
    ("scopes", "resources", "counted"),
    [
        (["BestEffort"], None, "1"),
        (["BestEffort"], {"requests": {"cpu": "1"}}, "0"),
        (["NotBestEffort"], {"requests": {"cpu": "1"}}, "1"),
        (["NotTerminating"], None, "1"),
        (["Terminating"], None, "0"),
    ],
    ids=str,
)
def test_scopes(
    server: Server, at: str, quota: Callable[..., None], scopes: list[str], resources: Object, counted: str
) -> None:
    quota({"pods": "5"}, scopes=scopes)
    server.post(f"{at}/pods", pod(resources=resources)).ok  # noqa: B018
    assert used(server, at) == {"pods": counted}


def test_limit_ranges_fill_in_and_bound(server: Server, at: str) -> None:
    limits = [
        {
            "type": "Container",
            "default": {"cpu": "2"},
            "defaultRequest": {"cpu": "1"},
            "max": {"cpu": "3"},
            "min": {"cpu": "100m"},
        }
    ]
    server.post(f"{at}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}}).ok  # noqa: B018

    def filled() -> Any:
        made = server.post(f"{at}/pods", pod(), query={"dryRun": "All"}).ok
        return made["spec"]["containers"][0]["resources"]

    until(lambda: filled() == {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}, "the defaults")
    answer = server.post(f"{at}/pods", pod(resources={"limits": {"cpu": "4"}}))
    assert answer.refusal[:2] == (403, "Forbidden")
    assert "maximum cpu usage per Container is 3, but limit is 4" in answer.body["message"]


@pytest.fixture
def priority(server: Server) -> Iterator[Callable[..., str]]:
    """Makes priority classes, which go when the test ends."""
    made: list[str] = []

    def make(value: int, **more: Any) -> str:
        made.append(f"p-{uuid.uuid4().hex[:8]}")
        server.post(PRIORITIES, {"metadata": {"name": made[-1]}, "value": value, **more}).ok  # noqa: B018
        return made[-1]

    yield make
    for name in made:
        server.delete(f"{PRIORITIES}/{name}")


def test_a_priority_class_gives_its_number(server: Server, at: str, priority: Callable[..., str]) -> None:
    name = priority(7, preemptionPolicy="Never")
    made = server.post(f"{at}/pods", pod(priorityClassName=name)).ok["spec"]
    assert (made["priority"], made["preemptionPolicy"]) == (7, "Never")
    plain = server.post(f"{at}/pods", pod("q")).ok["spec"]
    assert (plain["priority"], plain["preemptionPolicy"]) == (0, "PreemptLowerPriority")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"priority": 5}, "the integer value of priority (5) must not be provided in pod spec"),
        ({"serviceAccountName": "none"}, "error looking up service account"),
    ],
    ids=str,
)
def test_what_does_not_exist_is_not_given(server: Server, at: str, spec: Object, words: str) -> None:
    answer = server.post(f"{at}/pods", pod(**spec))
    assert answer.refusal[:2] == (403, "Forbidden")
    assert words in answer.body["message"]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (
            {"metadata": {"name": "system-mine"}, "value": 1},
            (422, "Invalid", [("metadata.name", "FieldValueForbidden")]),
        ),
        (
            {"metadata": {"name": "big"}, "value": 1000000001},
            (422, "Invalid", [("value", "FieldValueForbidden")]),
        ),
        (
            {"metadata": {"name": "odd"}, "value": 1, "preemptionPolicy": "Maybe"},
            (422, "Invalid", [("preemptionPolicy", "FieldValueNotSupported")]),
        ),
    ],
    ids=["reserved name", "reserved value", "a policy"],
)
def test_bad_priorities(server: Server, body: Object, refusal: Any) -> None:
    assert server.post(PRIORITIES, body).refusal == refusal


def test_a_priority_keeps_its_value(server: Server, priority: Callable[..., str]) -> None:
    name = priority(3)
    answer = server.patch(f"{PRIORITIES}/{name}", {"value": 4}, MERGE)
    assert answer.refusal[:2] == (422, "Invalid")
    assert {"value"} == {field for field, _ in answer.refusal[2]}


def test_every_pod_has_an_account_and_its_token(server: Server, at: str) -> None:
    made = server.post(f"{at}/pods", pod()).ok["spec"]
    assert (made["serviceAccountName"], made["serviceAccount"]) == ("default", "default")
    (volume,) = made["volumes"]
    (mount,) = made["containers"][0]["volumeMounts"]
    assert mount == {
        "name": volume["name"],
        "readOnly": True,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    }
    assert [sorted(source)[0] for source in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    bare = server.post(f"{at}/pods", pod("bare", automountServiceAccountToken=False)).ok["spec"]
    assert "volumes" not in bare and "volumeMounts" not in bare["containers"][0]


def test_tolerations_that_every_pod_has(server: Server, at: str) -> None:
    made = server.post(f"{at}/pods", pod()).ok["spec"]["tolerations"]
    assert made == [
        {
            "key": f"node.kubernetes.io/{key}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for key in ("not-ready", "unreachable")
    ]
