"""Bodies that kubectl 1.36 sent, and what they must not do to the server."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hortator.local.apiserver.protobuf import ProtobufError
from hortator.local.apiserver.scheme import load_scheme

SCHEME = load_scheme()

# kubectl create job j --image=x -- a b
JOB = """azhzAAoPCghiYXRjaC92MRIDSm9iEngKEQoBahIAGgAiACoAMgA4AEIAElkyVwoQCgASABoAIgAqADIAOABCABJDEiAKAWoSAXgaAWEaAWIq
AEIAagByAIABAIgBAJABAKIBABoFTmV2ZXIyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBABoIIAAoADAAOgAaACIA"""
# kubectl create deployment d --image=x --replicas=0 --port=80
DEPLOYMENT = """azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EqcBChsKAWQSABoAIgAqADIAOABCAFoICgNhcHASAWQSeggAEgoKCAoDYXBwEgFkGmI
KGgoAEgAaACIAKgAyADgAQgBaCAoDYXBwEgFkEkQSJgoBeBIBeCoAMgoKABAAGFAiACoAQgBqAHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoA
IIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA"""
# kubectl create service clusterip a --tcp=80:http
SERVICE = """azhzAAoNCgJ2MRIHU2VydmljZRJmChsKAWESABoAIgAqADIAOABCAFoICgNhcHASAWESQwoeCgc4MC1odHRwEgNUQ1AYUCIKCAEQABoEaHR0
cCgAEggKA2FwcBIBYRoAIglDbHVzdGVySVA6AEIAUgBaAGAAaAAaAgoAGgAiAA=="""


def decode(text: str) -> dict[str, Any]:
    return SCHEME.decode_protobuf(base64.b64decode(text))


def test_zeros_that_go_always_writes_are_dropped() -> None:
    container = {"name": "j", "image": "x", "command": ["a", "b"]}
    assert decode(JOB) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }


def test_a_zero_behind_a_pointer_is_a_value() -> None:
    assert decode(DEPLOYMENT)["spec"]["replicas"] == 0


def test_numbers_or_texts_keep_their_kind() -> None:
    (port,) = decode(SERVICE)["spec"]["ports"]
    assert port == {"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def body(api_version: str, kind: str, message: bytes) -> bytes:
    type_meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\x00" + field(1, type_meta) + field(2, message)


@pytest.mark.parametrize(
    ("api_version", "kind", "message", "expected"),
    [
        (
            "v1",
            "ConfigMap",
            field(2, field(1, b"a") + field(2, b"b")) + field(3, field(1, b"c") + field(2, b"\x00\x01")),
            {"data": {"a": "b"}, "binaryData": {"c": "AAE="}},
        ),
        (
            "v1",
            "ResourceQuota",
            field(2, field(1, field(1, b"cpu") + field(2, field(1, b"2")))),
            {"spec": {"hard": {"cpu": "2"}}},
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            field(2, field(3, b"\x08" + varint(1_000_000_000) + b"\x10" + varint(123_456_000))),
            {"spec": {"acquireTime": "2001-09-09T01:46:40.123456Z"}},
        ),
        (
            "apps/v1",
            "ControllerRevision",
            field(2, field(1, b'{"a":{"b":null}}')) + b"\x18\x05",
            {"data": {"a": {"b": None}}, "revision": 5},
        ),
        ("scheduling.k8s.io/v1", "PriorityClass", b"\x10" + varint(2**64 - 5), {"value": -5}),
        (
            "authentication.k8s.io/v1",
            "TokenRequest",
            field(2, field(1, b"api") + b"\x20\x0a"),
            {"spec": {"audiences": ["api"], "expirationSeconds": 10}},
        ),
        (
            "v1",
            "DeleteOptions",
            b"\x08\x00" + field(4, b"Background"),
            {"gracePeriodSeconds": 0, "propagationPolicy": "Background"},
        ),
    ],
)
def test_a_message_is_read(api_version: str, kind: str, message: bytes, expected: dict[str, Any]) -> None:
    assert SCHEME.decode_protobuf(body(api_version, kind, message)) == {
        "apiVersion": api_version,
        "kind": kind,
        **expected,
    }


def test_the_unions_of_a_custom_resource_definition_are_read() -> None:
    inner = field(5, b"object") + field(30, b"\x08\x01")  # additionalProperties: true
    items = field(24, field(1, field(5, b"string")))
    schema = (
        field(5, b"array") + items + field(8, field(1, b"[]")) + field(29, field(1, b"p") + field(2, inner))
    )
    version = field(1, b"v1") + field(4, field(1, schema))
    obj = SCHEME.decode_protobuf(
        body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, version)))
    )
    assert obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "properties": {"p": {"type": "object", "additionalProperties": True}},
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "does not appear to be a protobuf message"),
        (body("v1", "Nothing", b""), 'no kind "Nothing" is registered for version "v1"'),
        (body("v1", "Pod", b"\x0a\x05a"), "unexpected EOF"),
        (body("v1", "Pod", b"\x0b"), "illegal wireType 3"),
        (body("v1", "Pod", b"\x08\x01"), "wrong wireType"),
        (b"k8s\x00" + b"\xff" * 12, "integer overflow"),
    ],
)
def test_a_body_that_is_wrong_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ProtobufError, match=message):
        SCHEME.decode_protobuf(data)


@given(st.binary(max_size=200))
def test_no_body_raises_anything_else(data: bytes) -> None:
    for candidate in (data, body("v1", "Pod", data), body("batch/v1", "Job", data)):
        try:
            SCHEME.decode_protobuf(candidate)
        except ProtobufError as error:
            assert str(error)


def test_a_message_nested_beyond_reason_is_refused() -> None:
    schema = b""
    for _ in range(5000):
        schema = field(28, schema)
    version = field(4, field(1, schema))
    data = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, version)))
    with pytest.raises(ProtobufError):
        SCHEME.decode_protobuf(data)
