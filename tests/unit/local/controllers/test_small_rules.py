"""The pure rules of the smaller controllers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hortator.apimachinery import meta
from hortator.local.controllers.namespace import Remains, deletion_conditions
from hortator.local.controllers.nodes import eviction, wanted_taints
from hortator.local.controllers.podgc import surplus
from hortator.local.controllers.ttl import time_left
from hortator.local.controllers.volumes import best_volume, directory_name

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def finished(kind: str = "Complete", ago: float = 0, **spec: Any) -> dict[str, Any]:
    ended = {"type": kind, "status": "True", "lastTransitionTime": meta.rfc3339(NOW - timedelta(seconds=ago))}
    return {"metadata": {}, "spec": spec, "status": {"conditions": [ended]}}


@pytest.mark.parametrize(
    ("job", "left"),
    [
        (finished(ago=10, ttlSecondsAfterFinished=60), 50),
        (finished("Failed", ago=90, ttlSecondsAfterFinished=60), -30),
        (finished(ttlSecondsAfterFinished=0), 0),
        (finished(), None),
        (finished("Suspended", ttlSecondsAfterFinished=1), None),
        ({"metadata": {}, "spec": {"ttlSecondsAfterFinished": 1}}, None),
        ({**finished(ttlSecondsAfterFinished=1), "metadata": {"deletionTimestamp": "x"}}, None),
    ],
)
def test_finished_jobs_have_their_time(job: dict[str, Any], left: float | None) -> None:
    assert time_left(job, NOW) == left


def ended(name: str, created: str, phase: str = "Succeeded") -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": phase}}


def test_the_oldest_of_too_many_ended_pods_go() -> None:
    pods = [ended("b", "2"), ended("a", "1", "Failed"), ended("c", "3"), ended("d", "0", "Running")]
    assert [one["metadata"]["name"] for one in surplus(pods, 1)] == ["a", "b"]
    assert surplus(pods, 3) == []


def node(ready: str | None, *taints: dict[str, str]) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    return {"spec": {"taints": list(taints)}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("ready", "key"),
    [("True", None), ("False", "not-ready"), ("Unknown", "unreachable"), (None, None)],
)
def test_taints_follow_readiness_and_leave_others_alone(ready: str | None, key: str | None) -> None:
    mine = {"key": "mine", "effect": "NoSchedule"}
    stale = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    found = [(one["key"], one["effect"]) for one in wanted_taints(node(ready, mine, stale), NOW)]
    full = f"node.kubernetes.io/{key}"
    assert sorted(found) == sorted(
        [("mine", "NoSchedule"), *([(full, "NoSchedule"), (full, "NoExecute")] if key else [])]
    )


LOST = {
    "key": "node.kubernetes.io/unreachable",
    "effect": "NoExecute",
    "timeAdded": meta.rfc3339(NOW - timedelta(seconds=60)),
}


@pytest.mark.parametrize(
    ("tolerations", "taint", "left"),
    [
        ([], {"key": "k", "effect": "NoExecute"}, 0.0),
        ([], {"key": "k", "effect": "NoSchedule"}, None),
        ([{"operator": "Exists"}], {"key": "k", "effect": "NoExecute"}, None),
        ([{"key": "k", "value": "v"}], {"key": "k", "value": "w", "effect": "NoExecute"}, 0.0),
        ([], LOST, 240.0),
        ([{"key": LOST["key"], "operator": "Exists", "tolerationSeconds": 90}], LOST, 30.0),
        ([{"key": LOST["key"], "operator": "Exists", "tolerationSeconds": 9}], LOST, 0.0),
    ],
)
def test_pods_leave_a_tainted_node_when_their_tolerance_ends(
    tolerations: list[dict[str, Any]], taint: dict[str, str], left: float | None
) -> None:
    assert eviction({"spec": {"tolerations": tolerations}}, [taint], NOW) == left


def volume(
    name: str, size: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), **spec: Any
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {"capacity": {"storage": size}, "accessModes": list(modes), **spec},
    }


def claim(size: str = "1Gi", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "data", "namespace": "default", "uid": "u"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec},
    }


MINE = {"namespace": "default", "name": "data"}


@pytest.mark.parametrize(
    ("wish", "volumes", "chosen"),
    [
        (claim(), [volume("big", "9Gi"), volume("small", "2Gi"), volume("tiny", "1Mi")], "small"),
        (claim(), [volume("other", storageClassName="fast")], None),
        (claim(storageClassName="fast"), [volume("other", storageClassName="fast")], "other"),
        (claim(), [volume("ro", modes=("ReadOnlyMany",))], None),
        (claim(), [volume("taken", claimRef={**MINE, "name": "else"})], None),
        (claim(), [volume("a"), volume("mine", "9Gi", claimRef=MINE)], "mine"),
        (claim(), [volume("old", claimRef={**MINE, "uid": "before"})], None),
        (claim(volumeName="b"), [volume("a"), volume("b", "1Mi")], "b"),
        (claim(selector={"matchLabels": {"name": "b"}}), [volume("a"), volume("b")], "b"),
    ],
)
def test_a_claim_takes_the_smallest_volume_that_fits(
    wish: dict[str, Any], volumes: list[dict[str, Any]], chosen: str | None
) -> None:
    found = best_volume(wish, volumes)
    assert (found["metadata"]["name"] if found else None) == chosen


def test_directories_are_readable_and_unique() -> None:
    assert directory_name(claim()) == "default-data-u"


def test_an_ending_namespace_says_what_is_left() -> None:
    remains = Remains()
    remains.objects["pods."] = 2
    remains.finalizers["example.com/x"] = 1
    found = {kind: (status, message) for kind, status, _, message in deletion_conditions(remains)}
    assert found == {
        "NamespaceDeletionContentFailure": (
            False,
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (True, "Some resources are remaining: pods. has 2 resource instances"),
        "NamespaceFinalizersRemaining": (
            True,
            "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances",
        ),
    }
