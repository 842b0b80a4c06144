"""Binding, eviction, scale, ephemeral containers."""

from __future__ import annotations

from typing import Any

import pytest

from support.api import MERGE, PODS, STRATEGIC, Api, pod

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def binding(node: str = "n1", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": metadata,
        "target": {"kind": "Node", "name": node},
    }


async def test_binding_gives_a_pod_to_a_node(api: Api) -> None:
    await api.post(PODS, pod())
    answer = await api.post(f"{PODS}/p/binding", binding(annotations={"a": "b"}))
    assert answer.body["status"] == "Success"
    bound = await api.get(f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["metadata"]["annotations"] == {"a": "b"}
    (condition,) = [each for each in bound["status"]["conditions"] if each["type"] == "PodScheduled"]
    assert condition["status"] == "True"
    again = await api("POST", f"{PODS}/p/binding", binding("n2"))
    assert (again.status, again.message) == (
        409,
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"',
    )


@pytest.mark.parametrize(
    ("spec", "body", "status", "message"),
    [
        ({"schedulingGates": [{"name": "x.io/g"}]}, binding(), 409, "has non-empty .spec.schedulingGates"),
        ({}, binding(uid="other"), 409, "Precondition failed: UID in precondition"),
        ({}, binding(name="q"), 400, "does not match the name on the URL"),
        ({}, binding(""), 400, "target.name: Required value"),
        ({}, {**binding(), "target": {"kind": "Pod", "name": "x"}}, 400, "target.kind: Unsupported value"),
    ],
)
async def test_bad_bindings(api: Api, spec: Any, body: Any, status: int, message: str) -> None:
    await api.post(PODS, pod(**spec))
    answer = await api("POST", f"{PODS}/p/binding", body)
    assert answer.status == status and message in answer.message, answer
    assert (await api("POST", f"{PODS}/none/binding", binding())).status == 404


async def test_eviction_deletes(api: Api) -> None:
    await api.post(PODS, pod(nodeName="n"))
    body = {"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 3}}
    await api.post(f"{PODS}/p/eviction", body)
    assert (await api.get(f"{PODS}/p"))["metadata"]["deletionGracePeriodSeconds"] == 3


async def test_scale_of_a_deployment(api: Api) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": pod()["spec"]["containers"]}}
    body = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    await api.post(DEPLOYMENTS, body)
    scale = await api.get(f"{DEPLOYMENTS}/d/scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 0, "selector": "a=b"})
    patched = await api("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 3}}, kind=MERGE)
    assert patched.body["spec"]["replicas"] == 3
    found = await api.get(f"{DEPLOYMENTS}/d")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (3, 2)
    assert (await api("PUT", f"{DEPLOYMENTS}/d/scale", scale)).status == 409
    assert (await api("GET", f"{DEPLOYMENTS}/none/scale")).status == 404
    assert (
        await api("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": "x"}}, kind=MERGE)
    ).status == 400


async def test_ephemeral_containers(api: Api) -> None:
    await api.post(PODS, pod())
    patch = {
        "spec": {"ephemeralContainers": [{"name": "debug", "image": "x", "targetContainerName": "main"}]}
    }
    refused = await api("PATCH", f"{PODS}/p", patch, kind=STRATEGIC)
    assert refused.status == 422
    added = await api("PATCH", f"{PODS}/p/ephemeralcontainers", patch, kind=STRATEGIC)
    assert added.status == 200, added
    assert [each["name"] for each in added.body["spec"]["ephemeralContainers"]] == ["debug"]


async def test_a_pods_spec_is_fixed(api: Api) -> None:
    await api.post(PODS, pod())
    answer = await api("PATCH", f"{PODS}/p", {"spec": {"hostNetwork": True}}, kind=MERGE)
    assert answer.status == 422
    assert "pod updates may not change fields other than" in answer.message
    assert (await api("PATCH", f"{PODS}/p", {"status": {"phase": "Failed"}}, kind=MERGE)).body["status"][
        "phase"
    ] == ("Pending")
