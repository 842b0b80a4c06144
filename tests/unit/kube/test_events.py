from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hortator.kube.client import Client
from hortator.kube.errors import Unavailable
from hortator.kube.events import Recorder
from hortator.kube.http import Request, Response
from hortator.kube.transport import InProcess
from support.fake_server import failure, reply
from support.virtual_time import now

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
    "spec": {},
}


class EventServer:
    """Stores Events; fails when told to."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.answers: list[Response | Exception] = []
        self.log: list[str] = []

    async def __call__(self, request: Request) -> Response:
        self.log.append(request.method)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        body = json.loads(request.body)
        if request.method == "POST":
            self.events[f"{request.path}/{body['metadata']['name']}"] = body
        elif request.path in self.events:
            self.events[request.path] |= body
            body = self.events[request.path]
        else:
            return failure(404, "NotFound")
        return reply(body)


@pytest.fixture
def server() -> EventServer:
    return EventServer()


@pytest.fixture
def recorder(server: EventServer) -> Recorder:
    return Recorder(Client(InProcess(server)), "tester", now=now, rng=lambda: 0.5)


async def test_an_event_as_kubectl_shows_it(server: EventServer, recorder: Recorder) -> None:
    recorder.event(POD, "Warning", "Failed", "it failed")
    await recorder.flush()
    ((path, event),) = server.events.items()
    assert path.startswith("/api/v1/namespaces/n/events/p.")
    assert event["metadata"].pop("name").startswith("p.")
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "n"},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "n",
            "name": "p",
            "uid": "u",
            "resourceVersion": "7",
        },
        "type": "Warning",
        "reason": "Failed",
        "message": "it failed",
        "source": {"component": "tester"},
        "reportingComponent": "tester",
        "reportingInstance": "",
        "firstTimestamp": "2030-01-01T00:00:00Z",
        "lastTimestamp": "2030-01-01T00:00:00Z",
        "count": 1,
    }


async def test_a_reference_will_do_and_cluster_objects_go_to_default(
    server: EventServer, recorder: Recorder
) -> None:
    recorder.event(
        {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1"}, "Normal", "Ready", "ready"
    )
    await recorder.flush()
    ((path, event),) = server.events.items()
    assert path.startswith("/api/v1/namespaces/default/events/n1.")
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1"}


async def test_the_same_again_counts(server: EventServer, recorder: Recorder) -> None:
    for _ in range(3):
        recorder.event(POD, "Normal", "Pulled", "again")
        await asyncio.sleep(10)
    ((_, event),) = server.events.items()
    assert (event["count"], event["firstTimestamp"], event["lastTimestamp"]) == (
        3,
        "2030-01-01T00:00:00Z",
        "2030-01-01T00:00:20Z",
    )
    assert recorder.statistics() == (0, 1, 2, 0, 0, 0)


async def test_an_event_that_aged_away_is_written_whole(server: EventServer, recorder: Recorder) -> None:
    recorder.event(POD, "Normal", "Pulled", "again")
    await recorder.flush()
    server.events.clear()
    recorder.event(POD, "Normal", "Pulled", "again")
    await recorder.flush()
    assert [event["count"] for event in server.events.values()] == [2]


async def test_an_absent_server_is_tried_again_and_order_is_kept(
    server: EventServer, recorder: Recorder
) -> None:
    server.answers = [Unavailable("server", "gone")] * 2
    recorder.event(POD, "Normal", "First", "1")
    recorder.event(POD, "Normal", "Second", "2")
    await recorder.flush()
    assert [event["reason"] for event in server.events.values()] == ["First", "Second"]
    assert asyncio.get_running_loop().time() == 15


async def test_a_refused_event_is_not_repeated(server: EventServer, recorder: Recorder) -> None:
    server.answers = [failure(403, "Forbidden", "namespace is being terminated")]
    recorder.event(POD, "Normal", "First", "1")
    recorder.event(POD, "Normal", "Second", "2")
    await recorder.flush()
    assert [event["reason"] for event in server.events.values()] == ["Second"]
    assert recorder.statistics().refused == 1


async def test_a_flood_is_filtered(server: EventServer, recorder: Recorder) -> None:
    for number in range(40):
        recorder.event(POD, "Normal", f"R{number}", "x")
    await recorder.flush()
    assert (len(server.events), recorder.statistics().filtered) == (25, 15)


async def test_the_queue_is_bounded(server: EventServer, recorder: Recorder) -> None:
    for number in range(1005):
        recorder.event({**POD, "metadata": {"name": f"p{number}", "namespace": "n"}}, "Normal", "R", "x")
    assert (recorder.statistics().waiting, recorder.statistics().dropped) == (1000, 5)
    await recorder.flush()
    assert len(server.events) == 1000


@pytest.mark.parametrize(
    ("obj", "kind"), [({"metadata": {"name": "p"}}, "Normal"), ({"kind": "Pod"}, "Normal"), (POD, "Odd")]
)
async def test_what_cannot_be_told_is_logged(
    recorder: Recorder, obj: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.event(obj, kind, "R", "x")
    assert recorder.statistics().waiting == 0
    assert "cannot be told" in caplog.text


async def test_long_names_and_messages_are_cut(server: EventServer, recorder: Recorder) -> None:
    recorder.event({"kind": "X", "name": "n" * 253}, "Normal", "R", "ü" * 1000)
    await recorder.flush()
    ((_, event),) = server.events.items()
    assert len(event["metadata"]["name"]) == 253
    assert len(event["message"].encode()) <= 1024 and event["message"].endswith("ü...")


async def test_stopping_writes_what_is_left(server: EventServer, recorder: Recorder) -> None:
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(1)
    recorder.event(POD, "Normal", "Last", "x")
    task.cancel()
    await asyncio.wait((task,))
    assert len(server.events) == 1


async def test_stopping_does_not_wait_for_an_absent_server(server: EventServer, recorder: Recorder) -> None:
    server.answers = [Unavailable("server", "gone")] * 20
    recorder.event(POD, "Normal", "Last", "x")
    await recorder.close()
    assert asyncio.get_running_loop().time() == 1
    assert recorder.statistics().waiting == 0
