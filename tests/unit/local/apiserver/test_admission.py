"""What pods get and what namespaces allow: accounts, priorities, limits, quotas."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.api import MAPS, MERGE, PODS, Api, pod

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
LIMITS = "/api/v1/namespaces/default/limitranges"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"


def sized(name: str = "p", **resources: Any) -> dict[str, Any]:
    return pod(name, containers=[{"name": "main", "image": "none", "resources": resources}])


async def test_a_pod_runs_as_its_account_with_a_token(api: Api) -> None:
    spec = (await api.post(PODS, pod())).body["spec"]
    assert spec["serviceAccountName"] == "default"
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    sources = volume["projected"]["sources"]
    assert [next(iter(source)) for source in sources] == ["serviceAccountToken", "configMap", "downwardAPI"]
    assert spec["containers"][0]["volumeMounts"] == [
        {
            "name": volume["name"],
            "readOnly": True,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        }
    ]


@pytest.mark.parametrize("where", ["pod", "account"])
async def test_mounting_can_be_declined(api: Api, where: str) -> None:
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    if where == "account":
        await api("PATCH", account, {"automountServiceAccountToken": False}, kind=MERGE)
    more = {"automountServiceAccountToken": False} if where == "pod" else {}
    assert "volumes" not in (await api.post(PODS, pod(**more))).body["spec"]


async def test_pods_bear_lost_nodes_for_five_minutes(api: Api) -> None:
    own = {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 5,
    }
    spec = (await api.post(PODS, pod(tolerations=[own]))).body["spec"]
    assert [(each["key"], each["tolerationSeconds"]) for each in spec["tolerations"]] == [
        ("node.kubernetes.io/not-ready", 5),
        ("node.kubernetes.io/unreachable", 300),
    ]


async def test_priority_classes(api: Api) -> None:
    await api.post(CLASSES, {"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"})
    spec = (await api.post(PODS, pod("a", priorityClassName="high"))).body["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    plain = (await api.post(PODS, pod("b"))).body["spec"]
    assert (plain["priority"], plain["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    unknown = await api("POST", PODS, pod("c", priorityClassName="none"))
    assert (unknown.status, "no PriorityClass with name none was found" in unknown.message) == (403, True)
    assert (await api("POST", PODS, pod("d", priority=5))).status == 403
    await api.post(CLASSES, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
    assert (await api.post(PODS, pod("e"))).body["spec"]["priorityClassName"] == "usual"
    second = await api("POST", CLASSES, {"metadata": {"name": "other"}, "value": 8, "globalDefault": True})
    assert (second.status, "Only one default can exist" in second.message) == (403, True)


async def limit(api: Api, **limit: Any) -> None:
    await api.post(LIMITS, {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})


async def test_limit_ranges_fill_in_defaults(api: Api) -> None:
    await limit(api, type="Container", default={"cpu": "1"}, defaultRequest={"cpu": "100m", "memory": "64Mi"})
    made = (await api.post(PODS, sized(requests={"memory": "1Gi"}))).body
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1"},
        "requests": {"cpu": "100m", "memory": "1Gi"},
    }
    assert "LimitRanger plugin set" in made["metadata"]["annotations"]["kubernetes.io/limit-ranger"]


@pytest.mark.parametrize(
    ("limits", "resources", "message"),
    [
        (
            {"max": {"cpu": "1"}},
            {"limits": {"cpu": "2"}},
            "maximum cpu usage per Container is 1, but limit is 2",
        ),
        ({"max": {"cpu": "1"}}, {}, ""),
        (
            {"min": {"cpu": "1"}},
            {"requests": {"cpu": "500m"}},
            "minimum cpu usage per Container is 1, but request is 500m",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
    ],
)
async def test_limit_ranges_bound(api: Api, limits: Any, resources: Any, message: str) -> None:
    await limit(api, type="Container", **limits)
    answer = await api("POST", PODS, sized(**resources))
    if message:
        assert (answer.status, message in answer.message) == (403, True), answer
    else:
        # Upstream makes the bound the default where none is given.
        assert answer.status == 201, answer


async def test_claims_are_bounded(api: Api) -> None:
    await limit(api, type="PersistentVolumeClaim", max={"storage": "1Gi"})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    answer = await api(
        "POST", "/api/v1/namespaces/default/persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": spec}
    )
    assert answer.status == 403
    assert "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi" in answer.message


async def quota(api: Api, hard: dict[str, str], **spec: Any) -> None:
    await api.post(QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}})


async def test_a_quota_counts(api: Api) -> None:
    await quota(api, {"pods": "1", "count/configmaps": "1"})
    await api.post(PODS, pod("a"))
    answer = await api("POST", PODS, pod("b"))
    assert answer.status == 403
    assert answer.message == (
        'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
    )
    await api.post(MAPS, {"metadata": {"name": "m"}})
    assert (await api("POST", MAPS, {"metadata": {"name": "n"}})).status == 403
    await api("DELETE", f"{PODS}/a")
    assert (await api("POST", PODS, pod("b"))).status == 201


async def test_a_finished_pod_no_longer_counts(api: Api) -> None:
    await quota(api, {"pods": "1"})
    await api.post(PODS, pod("a"))
    await api("PATCH", f"{PODS}/a/status", {"status": {"phase": "Succeeded"}}, kind=MERGE)
    assert (await api("POST", PODS, pod("b"))).status == 201


async def test_a_quota_adds_up_requests_and_wants_them_said(api: Api) -> None:
    await quota(api, {"requests.cpu": "1", "requests.nvidia.com/gpu": "2"})
    assert "must specify requests.cpu for: main" in (await api("POST", PODS, sized("a"))).message
    gpus = {"cpu": "600m", "nvidia.com/gpu": "1"}
    await api.post(PODS, sized("a", requests=gpus, limits={"nvidia.com/gpu": "1"}))
    answer = await api("POST", PODS, sized("b", requests={"cpu": "500m"}))
    assert "requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1" in answer.message
    more = {"cpu": "100m", "nvidia.com/gpu": "2"}
    refused = await api("POST", PODS, sized("b", requests=more, limits={"nvidia.com/gpu": "2"}))
    assert "requests.nvidia.com/gpu=2" in refused.message


async def test_requests_at_the_same_time_cannot_overdraw(api: Api) -> None:
    await quota(api, {"pods": "3"})
    answers = await asyncio.gather(*(api("POST", PODS, pod(f"p{index}")) for index in range(8)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [403] * 5


async def test_scopes(api: Api) -> None:
    await quota(api, {"pods": "0"}, scopes=["BestEffort"])
    assert (await api("POST", PODS, pod("a"))).status == 403
    assert (await api("POST", PODS, sized("b", requests={"cpu": "1"}))).status == 201


async def test_the_status_of_a_quota_follows(api: Api) -> None:
    await quota(api, {"pods": "5", "requests.cpu": "4"})
    await api.post(PODS, sized("a", requests={"cpu": "1500m"}))
    await asyncio.sleep(1)
    status = (await api.get(f"{QUOTAS}/q"))["status"]
    assert status == {
        "hard": {"pods": "5", "requests.cpu": "4"},
        "used": {"pods": "1", "requests.cpu": "1500m"},
    }
    await api("DELETE", f"{PODS}/a")
    await asyncio.sleep(1)
    assert (await api.get(f"{QUOTAS}/q"))["status"]["used"] == {"pods": "0", "requests.cpu": "0"}


async def test_a_dry_run_reserves_nothing(api: Api) -> None:
    await quota(api, {"pods": "1"})
    assert (await api("POST", PODS, pod("a"), dryRun="All")).status == 201
    assert (await api("POST", PODS, pod("a"))).status == 201
