from typing import Any

import pytest

from hortator.local.apiserver.scheme import DecodeError, load_scheme

SCHEME = load_scheme()
POD = "io.k8s.api.core.v1.Pod"


def decode(body: Any, name: str = POD) -> dict[str, Any]:
    obj, unknown = SCHEME.decode(name, body)
    assert unknown == []
    return obj


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"spec": {"hostNetwork": False, "nodeName": ""}}, {"spec": {}}),
        ({"metadata": {"labels": {}, "creationTimestamp": None}}, {"metadata": {}}),
        ({"spec": {"terminationGracePeriodSeconds": 0}}, {"spec": {"terminationGracePeriodSeconds": 0}}),
        ({"spec": {"containers": [{"name": ""}]}}, {"spec": {"containers": [{"name": ""}]}}),
        ({"spec": {"volumes": [{"emptyDir": {}}]}}, {"spec": {"volumes": [{"emptyDir": {}}]}}),
        ({"spec": {"securityContext": None}}, {"spec": {}}),
        ({"metadata": {"labels": {"a": None}}}, {"metadata": {"labels": {"a": ""}}}),
        ({"spec": {"overhead": {"cpu": None}}}, {"spec": {"overhead": {"cpu": "0"}}}),
        (
            {"status": {"containerStatuses": [{"ready": False}]}},
            {"status": {"containerStatuses": [{"ready": False}]}},
        ),
    ],
)
def test_what_go_cannot_tell_from_absent_is_dropped(given: Any, kept: Any) -> None:
    assert decode(given) == kept


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("0.5", "500m"), (1.5, "1500m"), (2, "2"), ("1024Mi", "1Gi"), ("1e3", "1e3"), ("1000m", "1")],
)
def test_quantities_become_canonical(text: Any, canonical: str) -> None:
    assert decode({"spec": {"overhead": {"cpu": text}}}) == {"spec": {"overhead": {"cpu": canonical}}}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00.9Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00Z"),
    ],
)
def test_times_become_utc_in_whole_seconds(text: str, canonical: str) -> None:
    assert decode({"status": {"startTime": text}}) == {"status": {"startTime": canonical}}


def test_times_of_leases_keep_microseconds() -> None:
    lease = decode({"spec": {"renewTime": "2026-03-01T12:00:00.5+01:00"}}, "io.k8s.api.coordination.v1.Lease")
    assert lease == {"spec": {"renewTime": "2026-03-01T11:00:00.500000Z"}}


def test_the_body_is_not_changed() -> None:
    body = {"spec": {"hostNetwork": False, "containers": [{"name": "a", "args": []}]}}
    decode(body)
    assert body == {"spec": {"hostNetwork": False, "containers": [{"name": "a", "args": []}]}}


def test_unknown_fields_are_dropped_and_reported_with_their_paths() -> None:
    body = {"foo": 1, "spec": {"containers": [{"name": "a", "bar": 2}], "nodeSelector": {"free": "text"}}}
    obj, unknown = SCHEME.decode(POD, body)
    assert obj == {"spec": {"containers": [{"name": "a"}], "nodeSelector": {"free": "text"}}}
    assert sorted(unknown) == ["foo", "spec.containers[0].bar"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "json: cannot unmarshal array into Go value of type v1.Pod"),
        (
            {"spec": {"containers": [{"name": 1}]}},
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            {"spec": {"containers": {}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"spec": {"priority": 2**31}},
            "json: cannot unmarshal number into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            {"spec": {"hostNetwork": "yes"}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            {"spec": {"overhead": {"cpu": "much"}}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            {"metadata": {"creationTimestamp": "soon"}},
            'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"',
        ),
    ],
)
def test_a_wrong_type_is_refused_in_upstreams_words(body: Any, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        SCHEME.decode(POD, body)
    assert str(caught.value) == message


def test_data_of_a_secret_must_be_base64() -> None:
    with pytest.raises(DecodeError, match="illegal base64 data"):
        SCHEME.decode("io.k8s.api.core.v1.Secret", {"data": {"a": "not base64!"}})


def test_opaque_parts_stay_as_they_are() -> None:
    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    schema = {"type": "object", "properties": {"a": {"default": {"b": None}, "enum": [None, 0, ""]}}}
    body = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}
    obj = decode(body, name)
    assert obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == schema


def test_a_definition_that_contains_itself_is_read_to_any_depth() -> None:
    name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(20):
        deep = {"type": "object", "properties": {"a": deep}}
    assert decode(deep, name) == deep
