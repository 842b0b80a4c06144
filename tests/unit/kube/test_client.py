from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from hortator.kube import errors
from hortator.kube.client import Client
from hortator.kube.http import Duplex, Request, Response
from hortator.kube.resources import CONFIG_MAPS, NODES, PODS, Resource
from hortator.kube.transport import InProcess
from support.fake_server import FakeServer, Watch, failure, listing, reply, thing

MAPS = "/api/v1/namespaces/default/configmaps"
ALL_MAPS = "/api/v1/configmaps"
MPIJOBS = Resource("kubeflow.org", "v2beta1", "mpijobs", "MPIJob")


def client_of(server: Any, token: str = "secret") -> Client:
    return Client(InProcess(server, token=token))


async def test_get_asks_for_json_as_the_token_s_owner() -> None:
    server = FakeServer().on("GET", f"{MAPS}/a", reply(thing("a", 1)))
    got = await client_of(server).get(CONFIG_MAPS, "a", namespace="default")
    assert got == thing("a", 1)
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert server.requests[0].headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("resource", "name", "namespace", "path"),
    [
        (NODES, "n1", None, "/api/v1/nodes/n1"),
        (MPIJOBS, "pi", "science", "/apis/kubeflow.org/v2beta1/namespaces/science/mpijobs/pi"),
        (CONFIG_MAPS, "system:x y", "default", f"{MAPS}/system:x y"),
    ],
)
async def test_paths_are_decoded(resource: Resource, name: str, namespace: str | None, path: str) -> None:
    server = FakeServer().on("GET", path, reply({}))
    await client_of(server).get(resource, name, namespace=namespace)
    assert [request.path for request in server.requests] == [path]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
async def test_a_name_that_is_no_path_segment_is_refused_before_it_is_sent(name: str) -> None:
    server = FakeServer()
    with pytest.raises(ValueError, match="not a name"):
        await client_of(server).get(CONFIG_MAPS, name, namespace="default")
    assert server.requests == []


async def test_a_namespaced_object_needs_a_namespace() -> None:
    with pytest.raises(ValueError, match="namespace"):
        await client_of(FakeServer()).get(CONFIG_MAPS, "a")


class Meta(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str


class Map(msgspec.Struct):
    metadata: Meta
    data: dict[str, str] = {}


async def test_typed_objects_name_only_what_is_read() -> None:
    server = FakeServer().on("GET", f"{MAPS}/a", reply(thing("a", 1, data={"k": "v"})))
    got = await client_of(server).get(CONFIG_MAPS, "a", namespace="default", type=Map)
    assert (got.metadata.name, got.data) == ("a", {"k": "v"})


async def test_list_puts_kind_and_version_back_into_items() -> None:
    server = FakeServer().on("GET", ALL_MAPS, listing(thing("a", 1), version=9, continue_="t", remaining=4))
    page = await client_of(server).list(CONFIG_MAPS, labels="x=y", fields="metadata.name=a", limit=1)
    assert page.items == [thing("a", 1)]
    assert (page.resource_version, page.continue_, page.remaining) == ("9", "t", 4)
    assert dict(server.requests[0].query) == {
        "labelSelector": "x=y",
        "fieldSelector": "metadata.name=a",
        "limit": "1",
    }


async def test_all_reads_every_page() -> None:
    server = FakeServer().on(
        "GET",
        MAPS,
        listing(thing("a", 1), version=9, continue_="t"),
        listing(thing("b", 2), version=9),
    )
    items = await client_of(server).all(CONFIG_MAPS, namespace="default")
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert [request.param("continue") for request in server.requests] == ["", "t"]


async def test_a_large_list_is_read_as_a_small_one() -> None:
    many = [thing(f"m{i}", i, data={"x": "y" * 1000}) for i in range(400)]
    server = FakeServer().on("GET", MAPS, listing(*many, version=9))
    page = await client_of(server).list(CONFIG_MAPS, namespace="default", type=Map)
    assert [item.metadata.name for item in page.items] == [f"m{i}" for i in range(400)]


async def test_create_takes_the_namespace_from_the_object() -> None:
    server = FakeServer().on("POST", MAPS, reply(thing("a", 1), 201))
    await client_of(server).create(CONFIG_MAPS, thing("a", 0), dry_run=True, field_validation="Strict")
    request = server.requests[0]
    assert dict(request.query) == {"dryRun": "All", "fieldManager": "hort", "fieldValidation": "Strict"}
    assert json.loads(request.body) == thing("a", 0)
    assert request.headers["content-type"] == "application/json"


async def test_create_on_a_subresource() -> None:
    path = "/api/v1/namespaces/default/pods/p/binding"
    server = FakeServer().on("POST", path, reply({"kind": "Status", "status": "Success"}, 201))
    await client_of(server).create(PODS, {"target": {}}, namespace="default", name="p", subresource="binding")
    assert [request.path for request in server.requests] == [path]


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("merge", "application/merge-patch+json"),
        ("json", "application/json-patch+json"),
        ("strategic", "application/strategic-merge-patch+json"),
    ],
)
async def test_patch_types(kind: Any, content_type: str) -> None:
    server = FakeServer().on("PATCH", f"{MAPS}/a/status", reply(thing("a", 2)))
    await client_of(server).patch(
        CONFIG_MAPS, "a", {"x": 1}, namespace="default", kind=kind, subresource="status", field_manager="me"
    )
    assert server.requests[0].headers["content-type"] == content_type
    assert server.requests[0].query == (("fieldManager", "me"),)


async def test_apply_names_its_manager_and_force() -> None:
    server = FakeServer().on("PATCH", f"{MAPS}/a", reply(thing("a", 2)))
    await client_of(server).apply(CONFIG_MAPS, thing("a", 0), field_manager="me", force=True)
    assert server.requests[0].headers["content-type"] == "application/apply-patch+yaml"
    assert server.requests[0].query == (("fieldManager", "me"), ("force", "true"))


async def test_delete_sends_its_conditions() -> None:
    server = FakeServer().on("DELETE", f"{MAPS}/a", reply({"kind": "Status", "status": "Success"}))
    await client_of(server).delete(
        CONFIG_MAPS, "a", namespace="default", propagation="Background", grace_seconds=0, uid="u"
    )
    assert json.loads(server.requests[0].body) == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    }


async def test_delete_collection_of_every_namespace_is_refused() -> None:
    with pytest.raises(ValueError, match="one namespace"):
        await client_of(FakeServer()).delete_collection(PODS, namespace=None)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Expired),
        (422, "Invalid", errors.Invalid),
        (500, "InternalError", errors.InternalError),
        (503, "ServiceUnavailable", errors.ServiceUnavailable),
        (418, "Teapot", errors.ApiError),
    ],
)
async def test_refusals(code: int, reason: str, kind: type[errors.ApiError]) -> None:
    server = FakeServer().on("GET", f"{MAPS}/a", failure(code, reason, "because"))
    with pytest.raises(errors.ApiError) as caught:
        await client_of(server).get(CONFIG_MAPS, "a", namespace="default")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.reason, str(caught.value)) == (code, reason, "because")


async def test_a_refusal_without_a_status_still_says_what_it_said() -> None:
    server = FakeServer().on("GET", f"{MAPS}/a", Response(502, {}, b"bad gateway, sorry"))
    with pytest.raises(errors.ApiError, match="bad gateway, sorry") as caught:
        await client_of(server).get(CONFIG_MAPS, "a", namespace="default")
    assert caught.value.code == 502


async def test_an_answer_that_is_not_json_is_told_apart_from_a_refusal() -> None:
    server = FakeServer().on("GET", f"{MAPS}/a", Response(200, {}, b"<html>"))
    with pytest.raises(errors.InvalidAnswer):
        await client_of(server).get(CONFIG_MAPS, "a", namespace="default")


async def test_an_invitation_to_come_back_is_followed() -> None:
    server = FakeServer().on(
        "POST", MAPS, failure(429, "TooManyRequests", retry_after="0"), reply(thing("a", 1), 201)
    )
    assert await client_of(server).create(CONFIG_MAPS, thing("a", 0)) == thing("a", 1)
    assert len(server.requests) == 2


async def test_no_answer_in_time_is_unavailable() -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(errors.Unavailable, match="no answer within"):
        await Client(InProcess(never), timeout=0.01).get(NODES, "n")


async def test_watch_yields_changes_whatever_the_chunks() -> None:
    watch = Watch()
    line = json.dumps({"type": "ADDED", "object": thing("a", 5)}).encode() + b"\n"
    watch.raw(line[:10]).raw(line[10:] + line[:20]).raw(line[20:]).bookmark(8).end()
    server = FakeServer().on("WATCH", ALL_MAPS, watch)
    events = [
        event
        async for event in client_of(server).watch(CONFIG_MAPS, resource_version="4", timeout_seconds=300)
    ]
    assert [(event.type, event.resource_version) for event in events] == [
        ("ADDED", "5"),
        ("ADDED", "5"),
        ("BOOKMARK", "8"),
    ]
    assert events[0].object == thing("a", 5)
    with pytest.raises(AttributeError, match="bookmark"):
        _ = events[2].object
    assert dict(server.requests[0].query) == {
        "watch": "true",
        "resourceVersion": "4",
        "timeoutSeconds": "300",
        "allowWatchBookmarks": "true",
    }


async def test_typed_watch() -> None:
    server = FakeServer().on("WATCH", MAPS, Watch().modified(thing("a", 5)).end())
    events = [e async for e in client_of(server).watch(CONFIG_MAPS, namespace="default", type=Map)]
    assert [(e.type, e.object.metadata.name, e.resource_version) for e in events] == [("MODIFIED", "a", "5")]


async def test_an_error_event_ends_the_watch_as_that_error() -> None:
    server = FakeServer().on("WATCH", ALL_MAPS, Watch().expired())
    with pytest.raises(errors.Expired):
        async for _ in client_of(server).watch(CONFIG_MAPS, resource_version="1"):
            pass


async def test_a_silent_watch_is_unavailable_and_lets_the_server_go() -> None:
    watch = Watch()
    server = FakeServer().on("WATCH", ALL_MAPS, watch)
    with pytest.raises(errors.Unavailable, match="silent"):
        async for _ in client_of(server).watch(CONFIG_MAPS, silence=0.01):
            pass
    assert watch.closed.is_set()


async def test_logs_are_passed_on_as_they_come() -> None:
    watch = Watch().raw(b"one\n").raw(b"two").end()
    server = FakeServer().on("GET", "/api/v1/namespaces/default/pods/p/log", watch)
    chunks = [
        c async for c in client_of(server).logs("default", "p", container="c", follow=True, tail_lines=0)
    ]
    assert chunks == [b"one\n", b"two"]
    assert server.requests[0].query == (("container", "c"), ("follow", "true"), ("tailLines", "0"))


def conversation(script: Any, protocol: str = "v5.channel.k8s.io") -> Any:
    async def serve(request: Request) -> Response:
        serve.request = request  # type: ignore[attr-defined]
        return Response(101, subprotocol=protocol, converse=script)

    return serve


async def test_exec_carries_both_directions_and_the_exit_code() -> None:
    async def echo(peer: Duplex) -> None:
        while (message := await peer.receive()) != b"\xff\x00":
            assert message is not None
            await peer.send(b"\x01" + message[1:])
        await peer.send(b"\x02bye")
        status = {
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        }
        await peer.send(b"\x03" + json.dumps(status).encode())

    serve = conversation(echo)
    stream = await client_of(serve).exec("default", "p", ["cat", "-"], container="c", stdin=True)
    await stream.send(b"hello")
    await stream.close_stdin()
    assert [piece async for piece in stream.output()] == [(1, b"hello"), (2, b"bye")]
    assert await stream.wait() == 3
    await stream.close()
    assert serve.request.params("command") == ["cat", "-"]
    assert serve.request.param("stdin") == "true"
    assert serve.request.headers["sec-websocket-protocol"] == "v5.channel.k8s.io, v4.channel.k8s.io"


async def test_exec_that_could_not_start_raises_the_server_s_account() -> None:
    async def refuse(peer: Duplex) -> None:
        status = {
            "kind": "Status",
            "status": "Failure",
            "reason": "InternalError",
            "message": "no such program",
        }
        await peer.send(b"\x03" + json.dumps(status).encode())

    stream = await client_of(conversation(refuse)).exec("default", "p", ["nope"])
    with pytest.raises(errors.InternalError, match="no such program"):
        await stream.wait()


async def test_exec_that_breaks_off_is_no_success() -> None:
    async def vanish(peer: Duplex) -> None:
        await peer.send(b"\x01half")

    stream = await client_of(conversation(vanish)).exec("default", "p", ["x"])
    with pytest.raises(errors.StreamClosed):
        await stream.wait()


async def test_exec_refused_before_the_upgrade() -> None:
    server = FakeServer().on("GET", "/api/v1/namespaces/default/pods/p/exec", failure(403, "Forbidden"))
    with pytest.raises(errors.Forbidden):
        await client_of(server).exec("default", "p", ["x"])


async def test_port_forward_skips_the_greeting() -> None:
    async def serve(peer: Duplex) -> None:
        await peer.send(b"\x00\x90\x1f")
        await peer.send(b"\x01\x90\x1f")
        message = await peer.receive()
        assert message is not None
        await peer.send(b"\x00" + message[1:].upper())

    stream = await client_of(conversation(serve, "v4.channel.k8s.io")).port_forward("default", "p", 8080)
    await stream.send(b"ping")
    assert await stream.receive() == b"PING"
    assert await stream.receive() is None


async def test_raw_raises_on_refusal_only() -> None:
    server = FakeServer().on("GET", "/version", reply({"major": "1"}))
    client = client_of(server)
    assert json.loads((await client.raw("GET", "/version")).body) == {"major": "1"}
    with pytest.raises(errors.NotFound):
        await client.raw("GET", "/nowhere")


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":5}\n']
)
@pytest.mark.parametrize("form", [dict, Map])
async def test_an_event_that_makes_no_sense_is_told_apart(line: bytes, form: Any) -> None:
    server = FakeServer().on("WATCH", ALL_MAPS, Watch().raw(line))
    with pytest.raises(errors.InvalidAnswer):
        async for _ in client_of(server).watch(CONFIG_MAPS, type=form):
            pass
