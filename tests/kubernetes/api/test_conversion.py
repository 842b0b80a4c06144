"""Custom resources whose versions a webhook converts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.server import JSON_PATCH, TABLE, Answer, Server
from support.staying import until
from support.webhooks import Webhook, running_webhook

Object = dict[str, Any]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def version(name: str, field: str, kind: str, *, storage: bool = False) -> Object:
    """Return a version whose objects say their size in one field, of one type."""
    spec = {"type": "object", "properties": {field: {"type": kind}, "replicas": {"type": "integer"}}}
    status = {"type": "object", "properties": {"seen": {"type": kind}}}
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [
            {"name": field.capitalize(), "type": kind, "jsonPath": f".spec.{field}"}
        ],
        "selectableFields": [{"jsonPath": f".spec.{field}"}],
    }


V1 = version("v1", "size", "integer", storage=True)
V2 = version("v2", "length", "string")


def converted(obj: Object, api_version: str) -> Object:
    """Return a rod in the other version: ``size: 3`` is ``length: 3cm``."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    if api_version.endswith("/v2") and "size" in spec:
        spec["length"] = f"{spec.pop('size')}cm"
    elif api_version.endswith("/v1") and "length" in spec:
        spec["size"] = int(spec.pop("length").removesuffix("cm"))
    if "seen" in status:
        status["seen"] = (
            f"{status['seen']}cm" if api_version.endswith("/v2") else int(status["seen"].removesuffix("cm"))
        )
    return {**obj, "apiVersion": api_version, "spec": spec, **({"status": status} if status else {})}


def convert(request: Object) -> Object:
    objects = [converted(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": objects}


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with running_webhook(tmp_path_factory.mktemp("webhook")) as running:
        yield running


class Rods:
    """A definition with two versions, stored in the first, and its objects in one namespace."""

    def __init__(self, server: Server, webhook: Webhook, namespace: str) -> None:
        self.server = server
        self.webhook = webhook
        self.namespace = namespace
        self.group = f"g{uuid.uuid4().hex[:8]}.example.com"
        self.name = f"{CRDS}/rods.{self.group}"
        self.v1, self.v2 = self.at("v1"), self.at("v2")
        self.config = webhook.on(f"/{self.group}", convert)

    def at(self, version: str) -> str:
        return f"/apis/{self.group}/{version}/namespaces/{self.namespace}/rods"

    def definition(self, *versions: Object, **webhook: Any) -> Object:
        conversion = {"clientConfig": self.config, "conversionReviewVersions": ["v1"], **webhook}
        return {
            "metadata": {"name": f"rods.{self.group}"},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {"plural": "rods", "kind": "Rod"},
                "versions": list(versions or (V1, V2)),
                "conversion": {"strategy": "Webhook", "webhook": conversion},
            },
        }

    def define(self, *versions: Object, **webhook: Any) -> None:
        self.server.post(CRDS, self.definition(*versions, **webhook)).ok  # noqa: B018
        until(lambda: self.server.get(self.v1).status == 200, "that it is served")

    def rod(self, version: str, name: str = "r", **spec: Any) -> Object:
        metadata = {"name": name}
        return {"apiVersion": f"{self.group}/{version}", "kind": "Rod", "metadata": metadata, "spec": spec}

    def answer(self, answer: Callable[[Object], Any]) -> None:
        """Let the webhook answer so from now on."""
        self.webhook.on(f"/{self.group}", answer)

    @property
    def asked(self) -> list[Object]:
        return self.webhook.asked(f"/{self.group}")


@pytest.fixture
def rods(server: Server, webhook: Webhook, namespace: str) -> Iterator[Rods]:
    made = Rods(server, webhook, namespace)
    yield made
    made.answer(convert)
    server.delete(made.name)


@pytest.fixture
def defined(rods: Rods) -> Rods:
    rods.define()
    return rods


def test_an_object_is_shown_in_the_version_asked_for(server: Server, defined: Rods) -> None:
    made = server.post(defined.v1, defined.rod("v1", size=3)).ok
    found = server.get(f"{defined.v2}/r").ok
    assert (found["apiVersion"], found["spec"]) == (f"{defined.group}/v2", {"length": "3cm"})
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert server.get(f"{defined.v1}/r").ok["spec"] == {"size": 3}


def test_an_object_made_in_another_version_is_stored_in_the_one_that_is(
    server: Server, defined: Rods
) -> None:
    made = server.post(defined.v2, defined.rod("v2", length="5cm")).ok
    assert (made["apiVersion"], made["spec"]) == (f"{defined.group}/v2", {"length": "5cm"})
    assert server.get(f"{defined.v1}/r").ok["spec"] == {"size": 5}


def test_what_the_webhook_is_asked(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", size=3)).ok  # noqa: B018
    before = len(defined.asked)
    server.get(f"{defined.v2}/r").ok  # noqa: B018
    review = defined.asked[before]
    assert (review["apiVersion"], review["kind"]) == ("apiextensions.k8s.io/v1", "ConversionReview")
    request = review["request"]
    assert sorted(request) == ["desiredAPIVersion", "objects", "uid"]
    assert request["desiredAPIVersion"] == f"{defined.group}/v2"
    (asked,) = request["objects"]
    assert (asked["apiVersion"], asked["kind"], asked["spec"]) == (f"{defined.group}/v1", "Rod", {"size": 3})
    assert asked["metadata"]["name"] == "r"


def test_lists(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", "a", size=1)).ok  # noqa: B018
    server.post(defined.v2, defined.rod("v2", "b", length="2cm")).ok  # noqa: B018
    found = server.get(defined.v2).ok
    assert (found["apiVersion"], found["kind"]) == (f"{defined.group}/v2", "RodList")
    assert [(item["apiVersion"], item["spec"]["length"]) for item in found["items"]] == [
        (f"{defined.group}/v2", "1cm"),
        (f"{defined.group}/v2", "2cm"),
    ]
    assert [item["spec"] for item in server.get(defined.v1).ok["items"]] == [{"size": 1}, {"size": 2}]


def test_a_selector_is_about_the_version_asked_for(server: Server, defined: Rods) -> None:
    for size in (1, 2):
        server.post(defined.v1, defined.rod("v1", f"r{size}", size=size)).ok  # noqa: B018
    found = server.get(defined.v2, query={"fieldSelector": "spec.length=2cm"}).ok["items"]
    assert [item["metadata"]["name"] for item in found] == ["r2"]
    found = server.get(defined.v1, query={"fieldSelector": "spec.size=1"}).ok["items"]
    assert [item["metadata"]["name"] for item in found] == ["r1"]


def test_columns_are_those_of_the_version(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", size=3)).ok  # noqa: B018
    table = server.get(defined.v2, accept=TABLE).ok
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Length"]
    assert [row["cells"] for row in table["rows"]] == [["r", "3cm"]]


def test_a_watch_shows_every_event_in_its_version(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", "a", size=1)).ok  # noqa: B018
    with server.watch(defined.v2) as watch:
        first = watch.next()
        server.post(defined.v1, defined.rod("v1", "b", size=2)).ok  # noqa: B018
        server.patch(f"{defined.v2}/a", {"spec": {"length": "4cm"}}).ok  # noqa: B018
        server.delete(f"{defined.v1}/b").ok  # noqa: B018
        events = [first, *(watch.next() for _ in range(3))]
    assert [
        (each["type"], each["object"]["apiVersion"], each["object"]["spec"]["length"]) for each in events
    ] == [
        ("ADDED", f"{defined.group}/v2", "1cm"),
        ("ADDED", f"{defined.group}/v2", "2cm"),
        ("MODIFIED", f"{defined.group}/v2", "4cm"),
        ("DELETED", f"{defined.group}/v2", "2cm"),
    ]


def test_a_watch_with_a_selector_of_its_version(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", "a", size=1)).ok  # noqa: B018
    with server.watch(defined.v2, fieldSelector="spec.length=2cm") as watch:
        server.patch(f"{defined.v1}/a", {"spec": {"size": 2}}).ok  # noqa: B018
        server.patch(f"{defined.v1}/a", {"spec": {"size": 3}}).ok  # noqa: B018
        assert watch.take(2) == [("ADDED", "a"), ("DELETED", "a")]


CHANGES: dict[str, tuple[Any, str]] = {
    "merge": ({"spec": {"length": "7cm"}}, "application/merge-patch+json"),
    "json": ([{"op": "replace", "path": "/spec/length", "value": "7cm"}], JSON_PATCH),
}


@pytest.mark.parametrize(("patch", "kind"), CHANGES.values(), ids=CHANGES)
def test_a_patch_is_about_the_version_it_is_sent_to(
    server: Server, defined: Rods, patch: Any, kind: str
) -> None:
    made = server.post(defined.v1, defined.rod("v1", size=3)).ok
    done = server.patch(f"{defined.v2}/r", patch, kind).ok
    assert (done["spec"], done["metadata"]["generation"]) == ({"length": "7cm"}, 2)
    assert done["metadata"]["uid"] == made["metadata"]["uid"]
    assert server.get(f"{defined.v1}/r").ok["spec"] == {"size": 7}


def test_updates_apply_and_subresources_in_another_version(server: Server, defined: Rods) -> None:
    at = f"{defined.v2}/r"
    applied = server.apply(at, defined.rod("v2", length="1cm")).ok
    assert applied["spec"] == {"length": "1cm"}
    assert server.put(at, applied | {"spec": {"length": "2cm", "replicas": 2}}).ok["spec"]["length"] == "2cm"
    done = server.patch(f"{at}/status", {"status": {"seen": "9cm"}}).ok
    assert (done["status"], done["spec"]["length"]) == ({"seen": "9cm"}, "2cm")
    scale = server.patch(f"{at}/scale", {"spec": {"replicas": 3}}).ok
    assert scale["spec"] == {"replicas": 3}
    found = server.get(f"{defined.v1}/r").ok
    assert (found["spec"], found["status"]) == ({"size": 2, "replicas": 3}, {"seen": 9})
    assert server.apply(at, defined.rod("v2", length="6cm"), force=True).ok["spec"] == {
        "length": "6cm",
        "replicas": 3,
    }


def test_objects_of_an_older_stored_version_remain_readable(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", size=3)).ok  # noqa: B018
    patch = [
        {"op": "replace", "path": f"/spec/versions/{index}/storage", "value": value}
        for index, value in ((0, False), (1, True))
    ]
    server.patch(defined.name, patch, JSON_PATCH).ok  # noqa: B018
    until(
        lambda: server.get(defined.name).ok["status"]["storedVersions"] == ["v1", "v2"], "the stored versions"
    )
    assert server.get(f"{defined.v1}/r").ok["spec"] == {"size": 3}
    assert server.get(f"{defined.v2}/r").ok["spec"] == {"length": "3cm"}
    assert server.delete(f"{defined.v2}/r").ok["status"] == "Success"


def failed(request: Object) -> Object:
    return {"result": {"status": "Failed", "message": "rods cannot bend"}}


def other(**changes: Any) -> Callable[[Object], Object]:
    """Return an answer whose objects are right but for some fields."""

    def answer(request: Object) -> Object:
        made = convert(request)
        found = [
            {**obj, **changes, "metadata": {**obj["metadata"], **changes.get("metadata", {})}}
            for obj in made["convertedObjects"]
        ]
        return {**made, "convertedObjects": found}

    return answer


KIND = "conversion webhook for {group}/v1, Kind=Rod "
FAILURES: dict[str, tuple[Callable[[Object], Any], str]] = {
    "it says so": (failed, "failed: rods cannot bend"),
    "it says nothing": (
        lambda request: {"result": {"status": "Failed"}},
        "failed: response.result.status was 'Failed', not 'Success'",
    ),
    "another's answer": (
        lambda request: {**convert(request), "uid": "x"},
        'failed: expected response.uid="',
    ),
    "too few": (
        lambda request: {"result": {"status": "Success"}, "convertedObjects": []},
        "returned 0 objects, expected 1",
    ),
    "another version": (
        other(apiVersion="example.com/v7"),
        "returned invalid object at index 0: invalid groupVersion (expected {group}/v2, received example.com/v7)",
    ),
    "another kind": (
        other(kind="Bar"),
        "returned invalid object at index 0: invalid kind (expected Rod, received Bar)",
    ),
    "another name": (
        other(metadata={"name": "other"}),
        "returned invalid object: must have the same name: r != other",
    ),
    "another uid": (other(metadata={"uid": "1"}), "returned invalid object: must have the same UID: "),
    "bad labels": (
        other(metadata={"labels": {"a b": "c"}}),
        'returned invalid metadata: metadata.labels: Invalid value: "a b": name part must consist of',
    ),
    "a status code": (lambda request: (500, b"broken"), "failed: an error on the server"),
}


@pytest.mark.parametrize(("answer", "words"), FAILURES.values(), ids=FAILURES)
def test_a_conversion_that_fails(
    server: Server, defined: Rods, answer: Callable[[Object], Any], words: str
) -> None:
    server.post(defined.v1, defined.rod("v1", size=3)).ok  # noqa: B018
    defined.answer(answer)
    found = server.get(f"{defined.v2}/r")
    assert found.refusal == (500, "", [])
    assert (KIND + words).format(group=defined.group) in found.body["message"]
    assert server.get(f"{defined.v1}/r").ok["spec"] == {"size": 3}


def test_what_cannot_be_converted_is_not_written(server: Server, defined: Rods) -> None:
    defined.answer(failed)
    made = server.post(defined.v2, defined.rod("v2", length="3cm"))
    words = f"conversion webhook for {defined.group}/v2, Kind=Rod failed: rods cannot bend"
    assert (made.refusal, made.body["message"]) == ((500, "", []), words)
    assert server.get(defined.v1).ok["items"] == []
    defined.answer(convert)
    server.post(defined.v2, defined.rod("v2", length="3cm")).ok  # noqa: B018
    defined.answer(failed)
    assert server.patch(f"{defined.v2}/r", {"spec": {"length": "4cm"}}).refusal == (500, "", [])
    assert server.get(f"{defined.v2}/r/scale").refusal == (500, "", [])
    assert server.delete(f"{defined.v2}/r").refusal == (500, "", [])
    assert server.get(f"{defined.v1}/r").ok["spec"] == {"size": 3}
    assert server.delete(f"{defined.v1}/r").status == 200


def test_metadata_is_the_servers_but_for_labels_and_annotations(server: Server, defined: Rods) -> None:
    server.post(defined.v1, defined.rod("v1", size=3)).ok  # noqa: B018
    change = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example.com/no"]}
    defined.answer(other(metadata=change, more={"unknown": 1}))
    until(lambda: "labels" in server.get(f"{defined.v2}/r").ok["metadata"], "a new conversion")
    found = server.get(f"{defined.v2}/r").ok
    metadata = found["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"a": "b"}, {"c": "d"})
    assert "finalizers" not in metadata and "more" not in found


BAD: dict[str, tuple[Object, list[tuple[str, str]]]] = {
    "no client": (
        {"clientConfig": None},
        [("spec.conversion.webhookClientConfig", "FieldValueRequired")],
    ),
    "nowhere": (
        {"clientConfig": {}},
        [("spec.conversion.webhookClientConfig", "FieldValueRequired")],
    ),
    "plain http": (
        {"clientConfig": {"url": "http://127.0.0.1/x"}},
        [("spec.conversion.webhookClientConfig.url", "FieldValueInvalid")],
    ),
    "a query": (
        {"clientConfig": {"url": "https://127.0.0.1/x?y=z"}},
        [("spec.conversion.webhookClientConfig.url", "FieldValueInvalid")],
    ),
    "a service": (
        {"clientConfig": {"service": {}}},
        [
            ("spec.conversion.webhookClientConfig.service.name", "FieldValueRequired"),
            ("spec.conversion.webhookClientConfig.service.namespace", "FieldValueRequired"),
        ],
    ),
    "no reviews": (
        {"conversionReviewVersions": []},
        [("spec.conversion.conversionReviewVersions", "FieldValueRequired")],
    ),
    "unknown reviews": (
        {"conversionReviewVersions": ["v7"]},
        [("spec.conversion.conversionReviewVersions", "FieldValueInvalid")],
    ),
    "odd reviews": (
        {"conversionReviewVersions": ["v1", "a b"]},
        [("spec.conversion.conversionReviewVersions[1]", "FieldValueInvalid")],
    ),
    "reviews twice": (
        {"conversionReviewVersions": ["v1", "v1"]},
        [("spec.conversion.conversionReviewVersions[1]", "FieldValueInvalid")],
    ),
}


@pytest.mark.parametrize(("broken", "causes"), BAD.values(), ids=BAD)
def test_bad_conversions(server: Server, rods: Rods, broken: Object, causes: list[tuple[str, str]]) -> None:
    answer: Answer = server.post(CRDS, rods.definition(**broken))
    assert answer.refusal == (422, "Invalid", causes), answer


def test_no_webhook_without_the_strategy(server: Server, rods: Rods) -> None:
    body = rods.definition()
    body["spec"]["conversion"]["strategy"] = "None"
    assert server.post(CRDS, body).refusal == (
        422,
        "Invalid",
        [
            ("spec.conversion.conversionReviewVersions", "FieldValueForbidden"),
            ("spec.conversion.webhookClientConfig", "FieldValueForbidden"),
        ],
    )


NO_AUTHORITY = {"url": "https://127.0.0.1/x", "caBundle": "bm9uZQ=="}


def test_a_definition_is_not_served_before_its_webhook_can_be_trusted(server: Server, rods: Rods) -> None:
    server.post(CRDS, rods.definition(clientConfig=NO_AUTHORITY)).ok  # noqa: B018

    def established() -> tuple[str, str]:
        found = server.get(rods.name).ok["status"].get("conditions") or []
        return next(
            ((each["status"], each["reason"]) for each in found if each["type"] == "Established"), ("", "")
        )

    until(lambda: established() == ("False", "InvalidCABundle"), "the condition")
    assert server.get(rods.v1).status != 200
    right = {"spec": {"conversion": {"webhook": {"clientConfig": rods.config}}}}
    server.patch(rods.name, right).ok  # noqa: B018
    until(lambda: server.get(rods.v1).status == 200, "that it is served")
    wrong = {"spec": {"conversion": {"webhook": {"clientConfig": NO_AUTHORITY}}}}
    assert server.patch(rods.name, wrong).refusal == (
        422,
        "Invalid",
        [("spec.conversion.webhookClientConfig.caBundle", "FieldValueInvalid")],
    )


def test_a_watch_from_a_version(server: Server, defined: Rods) -> None:
    made = server.post(defined.v1, defined.rod("v1", "a", size=1)).ok
    server.patch(f"{defined.v1}/a", {"spec": {"size": 2}}).ok  # noqa: B018
    server.post(defined.v2, defined.rod("v2", "b", length="5cm")).ok  # noqa: B018
    with server.watch(defined.v2, resourceVersion=made["metadata"]["resourceVersion"]) as watch:
        events = [watch.next(), watch.next()]
    assert [(each["type"], each["object"]["spec"]) for each in events] == [
        ("MODIFIED", {"length": "2cm"}),
        ("ADDED", {"length": "5cm"}),
    ]
