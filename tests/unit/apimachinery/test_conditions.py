import copy
from datetime import UTC, datetime

import pytest

from hortator.apimachinery.conditions import find, is_true, set_condition

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD = {
    "type": "Ready",
    "status": "False",
    "reason": "R",
    "message": "m",
    "lastTransitionTime": "2025-01-01T00:00:00Z",
    "lastProbeTime": "x",
}


def test_conditions_are_found_by_type():
    assert find([OLD], "Ready") is OLD
    assert find([OLD], "Other") is None
    assert find(None, "Ready") is None


@pytest.mark.parametrize(("status", "expected"), [("True", True), ("False", False), ("Unknown", False)])
def test_only_the_word_true_is_true(status, expected):
    assert is_true([{**OLD, "status": status}], "Ready") is expected
    assert is_true([], "Ready") is False


def test_a_new_condition_goes_to_the_end():
    assert set_condition([OLD], "New", True, reason="R", message="m", now=NOW, observed_generation=3) == [
        OLD,
        {
            "type": "New",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "status": "True",
            "reason": "R",
            "message": "m",
            "observedGeneration": 3,
        },
    ]


def test_the_time_moves_with_the_status_only():
    before = copy.deepcopy(OLD)
    same = set_condition([OLD], "Ready", "False", reason="S", message="n", now=NOW)
    assert same == [{**OLD, "reason": "S", "message": "n"}]
    changed = set_condition([OLD], "Ready", True, reason="S", message="n", now=NOW)
    assert changed[0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert changed[0]["lastProbeTime"] == "x"
    assert before == OLD


def test_setting_what_is_set_changes_nothing():
    assert set_condition([OLD], "Ready", False, reason="R", message="m", now=NOW) == [OLD]
