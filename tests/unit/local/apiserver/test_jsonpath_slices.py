from __future__ import annotations

import pytest

from hortator.local.apiserver.jsonpath import compile_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a[-1:].t", ["z"]),
        (".a[0:2].t", ["x", "y"]),
        (".a[1:].t", ["y", "z"]),
        (".a[:1].t", ["x"]),
        (".b[-1:].t", []),
    ],
)
def test_slices(path: str, expected: list[str]) -> None:
    assert compile_path(path)({"a": [{"t": "x"}, {"t": "y"}, {"t": "z"}], "b": []}) == expected
