"""Autoscalers in both of their versions."""

from __future__ import annotations

from typing import Any

from support.api import Api

V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


async def test_version_1_of_an_autoscaler_is_one_metric_of_version_2(api: Api) -> None:
    spec = {"maxReplicas": 3, "scaleTargetRef": TARGET, "targetCPUUtilizationPercentage": 70}
    await api.post(V1, {"metadata": {"name": "a"}, "spec": spec})
    found = await api.get(f"{V2}/a")
    assert (found["apiVersion"], found["spec"]["metrics"]) == ("autoscaling/v2", [cpu(70)])
    assert (await api.get(f"{V1}/a"))["spec"]["targetCPUUtilizationPercentage"] == 70


async def test_what_version_1_cannot_say_survives_a_write_through_it(api: Api) -> None:
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 5}},
    }
    spec = {"maxReplicas": 3, "scaleTargetRef": TARGET, "metrics": [memory, cpu(50)]}
    await api.post(V2, {"metadata": {"name": "a"}, "spec": spec})
    old = await api.get(f"{V1}/a")
    assert "metrics" not in old["spec"]
    old["spec"]["maxReplicas"] = 4
    assert (await api("PUT", f"{V1}/a", old)).status == 200
    found = await api.get(f"{V2}/a")
    assert (found["spec"]["maxReplicas"], found["spec"]["metrics"]) == (4, [memory, cpu(50)])
    assert "annotations" not in found["metadata"]
