"""Options of writes: what is refused, and with which cause."""

from __future__ import annotations

from typing import Any

import pytest

from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.write_options import check_delete_options


@pytest.mark.parametrize(
    "options",
    [{}, {"propagationPolicy": "Foreground"}, {"orphanDependents": False}, {"dryRun": ["All", "All"]}],
)
def test_deletions_that_are_allowed(options: dict[str, Any]) -> None:
    check_delete_options(options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"propagationPolicy": "Bad"},
            'propagationPolicy: Unsupported value: "Bad": supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
        ({"dryRun": ["Some"]}, 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
    ],
)
def test_deletions_that_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StatusError) as refused:
        check_delete_options(options)
    assert refused.value.code == 422
    assert str(refused.value.status.message) == f'DeleteOptions.meta.k8s.io "" is invalid: {sentence}'
