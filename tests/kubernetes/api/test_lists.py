"""Lists: pages, versions, selectors, and the forms of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import TABLE, Server

PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


@pytest.fixture
def maps(server: Server, namespace: str) -> str:
    """The path of a collection with five ConfigMaps, m0 to m4, whose label tells odd from even."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    # Kubernetes' own controller puts a ConfigMap of its own into every namespace.
    for number in range(5):
        labels = {"mine": "yes", "parity": "odd" if number % 2 else "even"}
        server.post(path, {"metadata": {"name": f"m{number}", "labels": labels}}).ok  # noqa: B018
    return path


def names(body: Any) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_pages_together_are_the_list(server: Server, maps: str) -> None:
    mine = {"labelSelector": "mine=yes", "limit": 2}
    pages, more = [], ""
    while True:
        body = server.get(maps, query=mine | ({"continue": more} if more else {})).ok
        pages.append(names(body))
        # What is left is not counted where a selector hides some of it.
        assert "remainingItemCount" not in body["metadata"]
        more = body["metadata"].get("continue", "")
        if not more:
            break
    assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"]]


def test_pages_are_of_one_version(server: Server, maps: str) -> None:
    mine = {"labelSelector": "mine=yes", "limit": 2}
    first = server.get(maps, query=mine).ok
    server.delete(f"{maps}/m3").ok  # noqa: B018
    server.post(maps, {"metadata": {"name": "m9", "labels": {"mine": "yes"}}}).ok  # noqa: B018
    rest = server.get(maps, query=mine | {"limit": 9, "continue": first["metadata"]["continue"]}).ok
    assert names(rest) == ["m2", "m3", "m4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_what_is_left_is_counted_without_selectors(server: Server, maps: str) -> None:
    whole = len(server.get(maps).ok["items"])
    page = server.get(maps, query={"limit": 1}).ok
    assert page["metadata"]["remainingItemCount"] == whole - 1


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"continue": "nonsense"}, (400, "BadRequest")),
        ({"limit": "x"}, (400, "BadRequest")),
        ({"resourceVersion": "x"}, (400, "BadRequest")),
        ({"resourceVersionMatch": "Exact"}, (422, "Invalid")),
        ({"resourceVersionMatch": "Sometimes", "resourceVersion": "1"}, (422, "Invalid")),
        ({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, (422, "Invalid")),
        ({"sendInitialEvents": "true"}, (422, "Invalid")),
        ({"labelSelector": "a in"}, (400, "BadRequest")),
        ({"fieldSelector": "data.a=b"}, (400, "BadRequest")),
        ({"fieldSelector": "metadata.name"}, (400, "BadRequest")),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    server: Server, namespace: str, query: dict[str, str], refusal: tuple[int, str]
) -> None:
    answer = server.get(f"/api/v1/namespaces/{namespace}/configmaps", query=query)
    assert answer.refusal[:2] == refusal


def test_a_version_that_is_still_to_come_is_not_answered_with_an_older_one(server: Server, maps: str) -> None:
    now = int(server.get(maps).ok["metadata"]["resourceVersion"])
    answer = server.get(maps, query={"resourceVersion": now + 10**6})
    status, reason, _ = answer.refusal
    assert (status, reason) == (504, "Timeout")
    assert any(cause["reason"] == "ResourceVersionTooLarge" for cause in answer.body["details"]["causes"])


def test_an_exact_version_is_a_look_back(server: Server, maps: str) -> None:
    before = server.get(maps, query={"labelSelector": "mine=yes"}).ok
    server.delete(f"{maps}/m0").ok  # noqa: B018
    query = {
        "labelSelector": "mine=yes",
        "resourceVersion": before["metadata"]["resourceVersion"],
        "resourceVersionMatch": "Exact",
    }
    assert names(server.get(maps, query=query).ok) == ["m0", "m1", "m2", "m3", "m4"]
    newer = query | {"resourceVersionMatch": "NotOlderThan"}
    assert names(server.get(maps, query=newer).ok) == ["m1", "m2", "m3", "m4"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"labelSelector": "parity=odd"}, ["m1", "m3"]),
        ({"labelSelector": "parity!=odd,mine"}, ["m0", "m2", "m4"]),
        ({"labelSelector": "parity in (odd,even),mine notin (no)"}, ["m0", "m1", "m2", "m3", "m4"]),
        ({"labelSelector": "!parity,mine"}, []),
        ({"fieldSelector": "metadata.name=m2"}, ["m2"]),
        ({"fieldSelector": "metadata.name!=m2", "labelSelector": "parity=even"}, ["m0", "m4"]),
    ],
    ids=str,
)
def test_selectors(server: Server, maps: str, selector: dict[str, str], expected: list[str]) -> None:
    assert names(server.get(maps, query=selector).ok) == expected


def test_the_same_objects_as_a_table_and_as_metadata(server: Server, maps: str) -> None:
    query = {"labelSelector": "parity=odd"}
    table = server.get(maps, query=query, accept=TABLE).ok
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert [row["cells"][:2] for row in table["rows"]] == [["m1", 0], ["m3", 0]]
    assert {row["object"]["kind"] for row in table["rows"]} == {"PartialObjectMetadata"}
    partial = server.get(maps, query=query, accept=PARTIAL).ok
    assert (partial["kind"], names(partial)) == ("PartialObjectMetadataList", ["m1", "m3"])
    assert {tuple(sorted(item)) for item in partial["items"]} == {("apiVersion", "kind", "metadata")}


def test_an_answer_in_no_known_form_is_refused(server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert server.get(path, accept="text/html").refusal[:2] == (406, "NotAcceptable")
