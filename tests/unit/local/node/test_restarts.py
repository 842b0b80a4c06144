from __future__ import annotations

from typing import Any

import pytest

from hortator.local.node.restarts import next_backoff, pause, should_restart

RETRY_42 = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
NOT_42 = {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [42]}}


@pytest.mark.parametrize(
    ("policy", "container", "codes"),
    [
        ("Always", {}, [0, 1, 42]),
        ("OnFailure", {}, [1, 42]),
        ("Never", {}, []),
        ("Always", {"restartPolicy": "Never"}, []),
        ("Never", {"restartPolicy": "OnFailure"}, [1, 42]),
        ("Never", {"restartPolicy": "Always"}, [0, 1, 42]),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": [RETRY_42]}, [42]),
        ("Always", {"restartPolicy": "Never", "restartPolicyRules": [NOT_42]}, [0, 1]),
    ],
)
def test_the_policy_of_a_container_comes_before_the_pods(
    policy: str, container: dict[str, Any], codes: list[int]
) -> None:
    spec = {"restartPolicy": policy}
    assert [code for code in (0, 1, 42) if should_restart(spec, container, code)] == codes


def test_back_off_doubles_to_five_minutes() -> None:
    backoffs = [0.0]
    for _ in range(7):
        backoffs.append(next_backoff(backoffs[-1], lasted=1.0))
    assert backoffs[1:] == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


@pytest.mark.parametrize(("lasted", "before", "after"), [(600.0, 300.0, 300.0), (601.0, 0.0, 10.0)])
def test_a_run_of_more_than_ten_minutes_makes_all_good(lasted: float, before: float, after: float) -> None:
    assert (pause(300.0, lasted), next_backoff(300.0, lasted)) == (before, after)
