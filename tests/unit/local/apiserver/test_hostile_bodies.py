"""Bodies, patches and options that are made to hurt: each is refused in words, none ends in a failure of the server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.api import APPLY, CRDS, JSON_PATCH, MAPS, MERGE, PODS, STRATEGIC, WIDGETS, Api, pod, widgets

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
DEEP_LIST = b"[" * 100_000 + b"]" * 100_000
DEEP_MAP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BOMB = b"apiVersion: v1\nkind: ConfigMap\na0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 12)
)
OVERSIZE = b'{"data":{"a":"' + b"x" * (3 << 20) + b'"}}'


def of_map(value: bytes) -> bytes:
    return b'{"metadata":{"name":"x"},"data":' + value + b"}"


def of_pod(priority: bytes) -> bytes:
    body = json.dumps(pod(priority="P")).encode()
    return body.replace(b'"P"', priority)


BODIES: dict[str, tuple[str, bytes, int, str]] = {
    "JSON: a deep list": (JSON, of_map(DEEP_LIST), 400, "max depth"),
    "JSON: a deep map": (JSON, DEEP_MAP, 400, "max depth"),
    "JSON: never closed": (JSON, b"[" * 500_000, 400, "max depth"),
    "JSON: too large": (JSON, OVERSIZE, 413, "limit is 3145728"),
    "JSON: truncated": (JSON, b'{"metadata":{"name":', 400, "truncated"),
    "JSON: something after it": (JSON, b'{"metadata":{"name":"x"}} {}', 400, "trailing"),
    "JSON: no UTF-8": (JSON, b'{"metadata":{"name":"\xff"}}', 400, "utf-8"),
    "JSON: a number of 3,000,000 digits": (JSON, of_map(b"9" * 3_000_000), 400, "out of range"),
    "YAML: a deep list": (YAML, b"a: " + DEEP_LIST, 400, "levels deep"),
    "YAML: deep blocks": (YAML, b"- " * 100_000 + b"a", 400, "levels deep"),
    "YAML: aliases of aliases": (YAML, BOMB, 400, "aliases stand for more than"),
    "YAML: no UTF-8": (YAML, b"metadata: {name: \xff}", 400, "not UTF-8"),
    "YAML: no number": (YAML, b"metadata: {name: x}\nspec: {priority: .nan}", 400, ".nan"),
    "YAML: a key twice": (YAML, b"metadata: {name: x}\ndata: {a: b, a: c}", 400, "a"),
    "YAML: two documents": (YAML, b"a: b\n---\nc: d", 400, "exactly one"),
    "protobuf: nothing": (PROTOBUF, b"", 400, "k8s"),
    "protobuf: nonsense": (PROTOBUF, b"k8s\0" + b"\xff" * 100, 400, "overflow"),
    "protobuf: groups": (PROTOBUF, b"k8s\0" + b"\x0b" * 100_000, 400, "wireType"),
    "protobuf: a length beyond the end": (PROTOBUF, b"k8s\0\x0a\xff\xff\xff\xff\x7f", 400, "EOF"),
    "protobuf: a million empty fields": (PROTOBUF, b"k8s\0" + b"\x12\x00" * 1_000_000, 400, "no kind"),
    "CBOR": ("application/cbor", b"\x9f" * 100_000, 415, "unknown format"),
}


async def alive(api: Api) -> None:
    assert (await api("GET", MAPS)).status == 200


@pytest.mark.parametrize("case", BODIES)
async def test_bodies(api: Api, case: str) -> None:
    kind, body, status, words = BODIES[case]
    answer = await api("POST", MAPS, body, kind=kind)
    assert answer.status == status and words in answer.message, answer.text[:500]
    await alive(api)


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "99999999999999999999", "0x10", "01", "+1", "0.5"],
)
async def test_numbers(api: Api, number: str) -> None:
    answer = await api("POST", PODS, of_pod(number.encode()))
    assert answer.status == 400, answer.text[:500]


@pytest.mark.parametrize("kind", [JSON_PATCH, MERGE, STRATEGIC])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (DEEP_MAP, 400),
        (DEEP_LIST, 400),
        (b'{"data":{"a":"\xff"}}', 400),
        (b'{"data":', 400),
        (b"", 400),
        (OVERSIZE, 413),
    ],
)
async def test_patch_bodies(api: Api, kind: str, body: bytes, status: int) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}})
    answer = await api("PATCH", f"{MAPS}/m", body, kind=kind)
    assert answer.status == status, answer.text[:500]


@pytest.mark.parametrize("body", [b"a: " + DEEP_LIST, BOMB, b"\xff", b"", b"[]", b"a: b\n---\nc: d"])
async def test_apply_bodies(api: Api, body: bytes) -> None:
    answer = await api("PATCH", f"{MAPS}/m", body, kind=APPLY, fieldManager="x")
    assert answer.status == 400, answer.text[:500]


async def test_copies_of_copies_end(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "x" * 1000}})
    bomb = [{"op": "copy", "from": "/data", "path": f"/data/b{index}"} for index in range(60)]
    answer = await api("PATCH", f"{MAPS}/m", bomb, kind=JSON_PATCH)
    assert answer.status == 413 and "copied values exceed" in answer.message


async def test_many_repeated_and_unknown_fields_are_said_in_few_words(api: Api) -> None:
    fields = b",".join(b'"u%d":1,"u%d":2' % (index, index) for index in range(50_000))
    body = b'{"metadata":{"name":"x"},' + fields + b"}"
    warned = await api("POST", MAPS, body, fieldValidation="Warn")
    assert warned.status == 201
    assert len(warned.headers["warning"]) < 8000 and 'unknown field \\"u0\\"' in warned.headers["warning"]
    refused = await api("POST", MAPS, body, fieldValidation="Strict")
    assert refused.status == 400 and refused.message.count("field") <= 101


@pytest.mark.parametrize("name", ["limit", "resourceVersion", "timeoutSeconds"])
@pytest.mark.parametrize("value", ["9" * 5000, "9" * 400, "-1", "1e3", "\u0661"])
async def test_numbers_in_options(api: Api, name: str, value: str) -> None:
    query = {name: value, **({"watch": "true"} if name == "timeoutSeconds" else {})}
    answer = await api("GET", MAPS, **query)
    assert answer.status == 400 and name in answer.message, answer


async def test_huge_selectors_select(api: Api) -> None:
    await api.post(MAPS, {"metadata": {"name": "m", "labels": {"a": "7"}}})
    many = ",".join(str(number) for number in range(50_000))
    assert len((await api.get(MAPS, labelSelector=f"a in ({many})"))["items"]) == 1
    assert not (await api.get(MAPS, labelSelector=",".join(f"l{n}=v" for n in range(20_000))))["items"]


async def test_ten_thousand_managers(api: Api) -> None:
    managers = [
        {
            "manager": f"m{number}",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {f"f:k{number}": {}}},
        }
        for number in range(10_000)
    ]
    await api.post(MAPS, {"metadata": {"name": "m", "managedFields": managers}, "data": {"a": "b"}})
    assert (await api("PATCH", f"{MAPS}/m", {"data": {"c": "d"}}, kind=MERGE)).status == 200
    assert len((await api.get(f"{MAPS}/m"))["metadata"]["managedFields"]) <= 11


def widgets_with(spec: dict[str, Any]) -> dict[str, Any]:
    definition = widgets()
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        "type": "object",
        **spec,
    }
    return definition


async def test_a_pattern_that_backtracks_elsewhere(api: Api) -> None:
    await api.post(CRDS, widgets_with({"properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}}))
    answer = await api("POST", WIDGETS, {"metadata": {"name": "w"}, "spec": {"s": "a" * 100_000 + "!"}})
    assert answer.status == 422 and "in body should match" in answer.message


@pytest.mark.parametrize("pattern", ["((a{1,100}){1,100}){1,100}", "(", "(?=a)"])
async def test_patterns_that_cannot_be_used(api: Api, pattern: str) -> None:
    answer = await api(
        "POST", CRDS, widgets_with({"properties": {"s": {"type": "string", "pattern": pattern}}})
    )
    assert answer.status == 422 and "pattern" in answer.message


LIST = {"properties": {"l": {"type": "array", "items": {"type": "string"}}, "s": {"type": "string"}}}


@pytest.mark.parametrize(
    ("rule", "spec"),
    [
        (
            "self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d != 'x'))))",
            {"l": ["a"] * 100_000},
        ),
        (
            "[0,1,2,3,4,5,6,7,8,9].map(x, self.s).join(self.s).replace('a', self.s).size() > 0",
            {"s": "a" * 100_000},
        ),
    ],
)
async def test_rules_that_would_never_end(api: Api, rule: str, spec: dict[str, Any]) -> None:
    await api.post(CRDS, widgets_with({**LIST, "x-kubernetes-validations": [{"rule": rule}]}))
    answer = await api("POST", WIDGETS, {"metadata": {"name": "w"}, "spec": spec})
    assert answer.status == 422 and "cost limit exceeded" in answer.message, answer.text[:500]


@pytest.mark.parametrize(
    "rule", ["(" * 100_000 + "true" + ")" * 100_000, "!" * 100_000 + "true", "[" * 100_000]
)
async def test_rules_nested_beyond_reason(api: Api, rule: str) -> None:
    answer = await api("POST", CRDS, widgets_with({**LIST, "x-kubernetes-validations": [{"rule": rule}]}))
    assert answer.status == 422 and "compilation failed" in answer.message
