from typing import Any

import pytest

from support.strategies import named, strategy, texts

LABEL = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)


def errors(resource: str, metadata: dict[str, Any]) -> list[str]:
    return texts(strategy(resource).validate({"metadata": metadata}))


@pytest.mark.parametrize(
    ("metadata", "start"),
    [
        ({"namespace": "d"}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "A", "namespace": "d"}, f'metadata.name: Invalid value: "A": {LABEL}'),
        ({"name": "a"}, "metadata.namespace: Required value"),
        (
            {"name": "a", "namespace": "d", "generateName": "A-"},
            f'metadata.generateName: Invalid value: "A-": {LABEL}',
        ),
        (
            {"name": "a", "namespace": "d", "labels": {"a b": ""}},
            'metadata.labels: Invalid value: "a b": name part',
        ),
        (
            {"name": "a", "namespace": "d", "labels": {"a": "-"}},
            'metadata.labels: Invalid value: "-": a valid label',
        ),
        (
            {"name": "a", "namespace": "d", "finalizers": ["a/b/c"]},
            'metadata.finalizers: Invalid value: "a/b/c"',
        ),
        (
            {
                "name": "a",
                "namespace": "d",
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}],
            },
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        ),
    ],
)
def test_bad_metadata_is_refused(metadata: dict[str, Any], start: str) -> None:
    (error,) = errors("configmaps", metadata)
    assert error.startswith(start)


def test_a_generated_name_may_end_its_prefix_with_a_hyphen() -> None:
    assert errors("configmaps", {"name": "a-x", "generateName": "a-", "namespace": "d"}) == []


def test_a_kind_without_namespaces_refuses_one() -> None:
    assert errors("nodes", {"name": "n", "namespace": "d"}) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]


def test_only_one_owner_can_be_the_controller() -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "uid": "u", "controller": True}
    (error,) = errors(
        "configmaps",
        {"name": "a", "namespace": "d", "ownerReferences": [{**owner, "name": "x"}, {**owner, "name": "y"}]},
    )
    assert 'Found "true" in references for Job/x and Job/y' in error


def test_names_and_uids_are_fixed() -> None:
    old = named("a", metadata={"namespace": "d"})
    new = named("b", metadata={"namespace": "d", "uid": "other"})
    assert texts(strategy("configmaps").validate_update(new, old)) == [
        'metadata.name: Invalid value: "b": field is immutable',
        'metadata.uid: Invalid value: "other": field is immutable',
    ]


def test_what_is_being_deleted_takes_no_new_finalizers() -> None:
    old = named("a", metadata={"deletionTimestamp": "2026-03-01T00:00:00Z", "finalizers": ["x/y"]})
    new = named("a", metadata={**old["metadata"], "finalizers": ["x/y", "x/z"]})
    assert texts(strategy("nodes").validate_update(new, old)) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"x/z"}'
    ]
