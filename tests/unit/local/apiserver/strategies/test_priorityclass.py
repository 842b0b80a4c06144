import pytest

from support.strategies import cells, changed, created, named, refused

CLASSES = "priorityclasses.scheduling.k8s.io"


@pytest.mark.parametrize(
    ("name", "value", "refusal"),
    [
        ("high", 1_000_000_000, None),
        (
            "high",
            1_000_000_001,
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ),
        ("system-cluster-critical", 2_000_000_000, None),
        (
            "system-cluster-critical",
            5,
            "metadata.name: Forbidden: priority class names with 'system-' prefix",
        ),
        (
            "system-mine",
            5,
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved",
        ),
    ],
)
def test_values(name: str, value: int, refusal: str | None) -> None:
    errors = refused(CLASSES, named(name, value=value))
    assert (not errors) if refusal is None else errors[0].startswith(refusal)


def test_value_and_preemption_are_fixed() -> None:
    old = created(CLASSES, named("high", value=5))
    assert old["preemptionPolicy"] == "PreemptLowerPriority"
    assert changed(CLASSES, old, {**old, "value": 6, "preemptionPolicy": "Never"}) == [
        "value: Forbidden: may not be changed in an update.",
        'preemptionPolicy: Invalid value: "Never": field is immutable',
    ]


def test_columns() -> None:
    row = cells(CLASSES, created(CLASSES, named("high", value=5, globalDefault=True)))
    assert (row["Value"], row["Global-Default"]) == (5, True)
