import pytest

from hortator.apimachinery.nesting import MAXIMUM_DEPTH, too_deep


def nested(levels, *, lists=False):
    value = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value, "b": 2}
    return value


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize(
    ("levels", "expected"),
    [(0, False), (1, False), (MAXIMUM_DEPTH, False), (MAXIMUM_DEPTH + 1, True), (100_000, True)],
)
def test_depth_is_limited(levels, lists, expected):
    assert too_deep(nested(levels, lists=lists)) is expected
