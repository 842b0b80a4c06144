"""Namespaces: what they have from the start, and how they end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.server import MERGE, Server
from support.staying import until

NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"ends-{uuid.uuid4().hex[:8]}"
    server.post(NAMESPACES, {"metadata": {"name": name}}).ok  # noqa: B018
    yield name
    server.delete(f"{NAMESPACES}/{name}")


def test_what_a_namespace_begins_with(server: Server, name: str) -> None:
    made = server.get(f"{NAMESPACES}/{name}").ok
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": name}
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    until(
        lambda: (
            server.get(f"{NAMESPACES}/{name}/serviceaccounts/default").status == 200
            and server.get(f"{NAMESPACES}/{name}/configmaps/kube-root-ca.crt").status == 200
        ),
        "the account and the certificate",
    )


def test_a_namespace_goes_with_all_that_is_in_it(server: Server, name: str) -> None:
    maps = f"{NAMESPACES}/{name}/configmaps"
    server.post(maps, {"metadata": {"name": "a"}}).ok  # noqa: B018
    left = server.delete(f"{NAMESPACES}/{name}").ok
    assert left["status"]["phase"] == "Terminating"
    until(lambda: server.get(f"{NAMESPACES}/{name}").status == 404, "the namespace's end")
    assert server.get(f"{maps}/a").status == 404


def test_what_holds_a_namespace_is_told_in_its_conditions(server: Server, name: str) -> None:
    maps = f"{NAMESPACES}/{name}/configmaps"
    server.post(maps, {"metadata": {"name": "a", "finalizers": ["example.com/wait"]}}).ok  # noqa: B018
    server.delete(f"{NAMESPACES}/{name}").ok  # noqa: B018

    def conditions() -> dict[str, tuple[str, str]]:
        found = server.get(f"{NAMESPACES}/{name}").ok["status"].get("conditions", [])
        return {each["type"]: (each["status"], each["reason"]) for each in found}

    until(lambda: conditions().get("NamespaceFinalizersRemaining", ("", ""))[0] == "True", "the condition")
    assert conditions()["NamespaceFinalizersRemaining"] == ("True", "SomeFinalizersRemain")
    assert conditions()["NamespaceContentRemaining"] == ("True", "SomeResourcesRemain")
    # Nothing new comes in meanwhile.
    answer = server.post(maps, {"metadata": {"name": "b"}})
    assert answer.refusal[:2] == (403, "Forbidden")
    assert [cause["reason"] for cause in answer.body["details"]["causes"]] == ["NamespaceTerminating"]
    server.patch(f"{maps}/a", {"metadata": {"finalizers": None}}, MERGE).ok  # noqa: B018
    until(lambda: server.get(f"{NAMESPACES}/{name}").status == 404, "the namespace's end")


@pytest.mark.parametrize("protected", ["default", "kube-system", "kube-public"])
def test_some_namespaces_stay(server: Server, protected: str) -> None:
    assert server.delete(f"{NAMESPACES}/{protected}").refusal[:2] == (403, "Forbidden")


@pytest.mark.parametrize("bad", ["A", "a.b", "-a", "a" * 64], ids=str)
def test_bad_names(server: Server, bad: str) -> None:
    status, reason, causes = server.post(NAMESPACES, {"metadata": {"name": bad}}).refusal
    assert (status, reason) == (422, "Invalid")
    # The label with the name may be wrong as well.
    assert ("metadata.name", "FieldValueInvalid") in causes


def test_an_object_of_a_namespace_that_is_not_there(server: Server) -> None:
    answer = server.post(f"{NAMESPACES}/nowhere/configmaps", {"metadata": {"name": "a"}})
    assert answer.refusal[:2] == (404, "NotFound")
    assert answer.body["message"] == 'namespaces "nowhere" not found'


def test_namespaces_are_not_deleted_together(server: Server) -> None:
    assert server.delete(NAMESPACES).refusal[:2] == (405, "MethodNotAllowed")
