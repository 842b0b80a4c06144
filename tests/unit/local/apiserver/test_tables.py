import pytest

from hortator.local.apiserver.tables import make_table
from support.strategies import CREATED, NOW, kind_of, strategy

OBJECT = {"metadata": {"name": "a", "creationTimestamp": CREATED}, "data": {"k": "v"}}


def table(include: str) -> dict[str, object]:
    kind = kind_of("configmaps")
    return make_table(kind, strategy("configmaps"), [OBJECT], include_object=include, now=NOW)


@pytest.mark.parametrize(
    ("include", "carried"),
    [
        ("None", None),
        (
            "Metadata",
            {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": OBJECT["metadata"]},
        ),
        ("Object", {"kind": "ConfigMap", "apiVersion": "v1", **OBJECT}),
    ],
)
def test_a_row_carries_what_was_asked_for(include: str, carried: object) -> None:
    (row,) = table(include)["rows"]  # type: ignore[misc]
    assert row["cells"] == ["a", 1, "2m"]
    assert row.get("object") == carried


def test_columns_are_defined_once() -> None:
    made = table("None")
    assert [column["name"] for column in made["columnDefinitions"]] == ["Name", "Data", "Age"]  # type: ignore[attr-defined]
    assert (made["kind"], made["apiVersion"]) == ("Table", "meta.k8s.io/v1")
