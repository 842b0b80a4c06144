from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused

RANGES, QUOTAS = "limitranges", "resourcequotas"


def limit(**parts: Any) -> dict[str, Any]:
    return named("l", spec={"limits": [{"type": "Container", **parts}]})


def test_a_containers_defaults_follow_from_its_maximum_and_minimum() -> None:
    (made,) = created(RANGES, limit(max={"cpu": "2"}, min={"memory": "1Gi"}))["spec"]["limits"]
    assert made["default"] == {"cpu": "2"}
    assert made["defaultRequest"] == {"cpu": "2", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        (
            {"type": "Room"},
            'spec.limits[0].type: Invalid value: "Room": must be a standard limit type or fully qualified',
        ),
        (
            {"min": {"cpu": "2"}, "max": {"cpu": "1"}},
            'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater',
        ),
        (
            {"type": "Pod", "default": {"cpu": "1"}},
            "spec.limits[0].default: Forbidden: may not be specified when `type` is",
        ),
        (
            {"type": "PersistentVolumeClaim"},
            "spec.limits[0].limits: Required value: either minimum or maximum storage",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "0.5"}},
            'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio',
        ),
    ],
)
def test_bad_ranges(parts: dict[str, Any], start: str) -> None:
    assert refused(RANGES, limit(**parts))[0].startswith(start)


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        (
            {
                "hard": {
                    "pods": "10",
                    "requests.cpu": "4",
                    "requests.nvidia.com/gpu": "4",
                    "count/jobs.batch": "5",
                }
            },
            "",
        ),
        (
            {"hard": {"rooms": "1"}},
            'spec.hard[rooms]: Invalid value: "rooms": must be a standard resource for quota',
        ),
        ({"hard": {"pods": "1.5"}}, 'spec.hard[pods]: Invalid value: "1500m": must be an integer'),
        ({"scopes": ["Some"]}, 'spec.scopes: Invalid value: ["Some"]: unsupported scope'),
        (
            {"scopes": ["BestEffort", "NotBestEffort"]},
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: confl',
        ),
    ],
)
def test_quotas(spec: dict[str, Any], start: str) -> None:
    errors = refused(QUOTAS, named("q", spec=spec))
    assert (not errors) if not start else errors[0].startswith(start)


def test_the_scopes_of_a_quota_are_fixed() -> None:
    old = created(QUOTAS, named("q", spec={"scopes": ["BestEffort"]}))
    (error,) = changed(QUOTAS, old, {**old, "spec": {"scopes": ["Terminating"]}})
    assert error.endswith("field is immutable")


def test_a_quota_shows_what_is_used() -> None:
    status = {"hard": {"pods": "10", "limits.cpu": "4", "cpu": "2"}, "used": {"pods": "3"}}
    row = cells(QUOTAS, named("q", status=status))
    assert (row["Request"], row["Limit"]) == ("cpu: 0/2, pods: 3/10", "limits.cpu: 0/4")
