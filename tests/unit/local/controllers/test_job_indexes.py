import pytest
from hypothesis import given
from hypothesis import strategies as st

from hortator.local.controllers.job.indexes import IndexSet


@pytest.mark.parametrize(
    ("indexes", "text"),
    [((), ""), ((3,), "3"), ((1, 2), "1,2"), ((1, 2, 3), "1-3"), ((0, 2, 3, 4, 7, 9, 10), "0,2-4,7,9,10")],
)
def test_written_as_in_a_job_status(indexes: tuple[int, ...], text: str) -> None:
    assert str(IndexSet.of(indexes)) == text


@pytest.mark.parametrize(
    ("text", "completions", "expected"),
    [("0,2-5,7", 10, "0,2-5,7"), ("0-9", 5, "0-4"), ("7", 5, ""), ("x,3,4-y", 9, "3"), ("1,2", 9, "1,2")],
)
def test_read_from_a_job_status(text: str, completions: int, expected: str) -> None:
    assert str(IndexSet.parse(text, completions)) == expected


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_behaves_as_a_set(one: set[int], other: set[int]) -> None:
    left, right = IndexSet.of(one), IndexSet.of(other)
    assert IndexSet.parse(str(left | right), 41) == IndexSet.of(one | other)
    assert len(left) == len(one)
    assert left.common(right) == len(one & other)
    assert list(left.missing(41)) == sorted(set(range(41)) - one)
    assert [n for n in range(41) if n in left] == sorted(one)
