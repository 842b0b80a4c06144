import base64
from typing import Any

import pytest

from support.strategies import cells, changed, created, named, refused


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        ({"data": {"a b": ""}}, 'data[a b]: Invalid value: "a b": a valid config key must consist of'),
        (
            {"data": {"a": ""}, "binaryData": {"a": ""}},
            'data[a]: Invalid value: "a": duplicate of key present in binary',
        ),
        ({"data": {"a": "x" * (1024 * 1024 + 1)}}, "[]: Too long: may not be more than 1048576 bytes"),
    ],
)
def test_bad_config_maps(parts: dict[str, Any], start: str) -> None:
    (error,) = refused("configmaps", named("c", **parts))
    assert error.startswith(start)


def test_a_secret_is_opaque_and_its_texts_become_data() -> None:
    made = created("secrets", named("s", data={"a": encoded("1"), "b": encoded("2")}, stringData={"b": "3"}))
    assert made["type"] == "Opaque"
    assert made["data"] == {"a": encoded("1"), "b": encoded("3")}
    assert "stringData" not in made


@pytest.mark.parametrize(
    ("kind", "data", "errors"),
    [
        ("Opaque", {}, []),
        ("kubernetes.io/tls", {"tls.crt": "YQ=="}, ["data[tls.key]: Required value"]),
        ("kubernetes.io/ssh-auth", {}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/basic-auth", {"username": "YQ=="}, []),
        ("kubernetes.io/dockerconfigjson", {}, ["data[.dockerconfigjson]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": encoded("{}")}, []),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("example.com/own", {}, []),
    ],
)
def test_the_type_of_a_secret_demands_keys(kind: str, data: dict[str, str], errors: list[str]) -> None:
    assert refused("secrets", named("s", type=kind, data=data)) == errors


def test_content_of_a_secret_is_never_repeated() -> None:
    content = {".dockerconfigjson": encoded("not json, but a password")}
    (error,) = refused("secrets", named("s", type="kubernetes.io/dockerconfigjson", data=content))
    assert "<secret contents redacted>" in error
    assert "password" not in error


SEALED = "field is immutable when `immutable` is set"


@pytest.mark.parametrize("resource", ["configmaps", "secrets"])
def test_what_is_sealed_stays(resource: str) -> None:
    old = created(resource, named("s", data={"a": "YQ=="}, immutable=True))
    labelled = {**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}
    assert changed(resource, old, labelled) == []
    assert changed(resource, old, {**old, "data": {}}) == [f"data: Forbidden: {SEALED}"]
    opened = {key: value for key, value in old.items() if key != "immutable"}
    assert changed(resource, old, opened) == [f"immutable: Forbidden: {SEALED}"]


def test_the_type_of_a_secret_is_fixed() -> None:
    old = created("secrets", named("s"))
    assert changed("secrets", old, {**old, "type": "other"}) == [
        'type: Invalid value: "other": field is immutable'
    ]


def test_columns() -> None:
    assert cells("configmaps", named("c", data={"a": ""}, binaryData={"b": ""}))["Data"] == 2
    row = cells("secrets", named("s", type="Opaque", data={"a": ""}))
    assert (row["Type"], row["Data"]) == ("Opaque", 1)
