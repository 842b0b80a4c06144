"""kubectl commands that stay: get --watch and proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from typing import IO

import pytest

from support.kubectl import Kubectl
from support.manifests import config

SERVERS = ("kubernetes", "local")


@contextlib.contextmanager
def staying(kubectl: Kubectl, *words: str) -> Iterator[IO[bytes]]:
    """Start kubectl and yield what it prints."""
    process = kubectl.start(*words, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=SERVERS)
def kubectl(request: pytest.FixtureRequest, servers: dict[str, Kubectl]) -> Iterator[Kubectl]:
    """Kubectl on one server, in a new namespace."""
    name = "staying"
    servers[request.param]("create", "namespace", name)
    yield servers[request.param].at(name)
    servers[request.param]("delete", "namespace", name)


def test_a_watch_tells_of_each_event(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config("seen", state="first"))
    form = 'jsonpath={.type} {.object.data.state}{"\\n"}'
    with staying(kubectl, "get", "configmap", "seen", "-w", "--output-watch-events", "-o", form) as said:
        assert said.readline() == b"ADDED first\n"
        kubectl("patch", "configmap", "seen", "-p", '{"data":{"state":"second"}}')
        assert said.readline() == b"MODIFIED second\n"
        kubectl("delete", "configmap", "seen")
        assert said.readline() == b"DELETED second\n"


def test_a_watch_by_label_shows_what_comes_and_goes(kubectl: Kubectl) -> None:
    words = ("get", "configmaps", "-l", "app=x", "--watch", "--output-watch-events", "--no-headers")
    kubectl("create", "-f", "-", stdin=config("before", {"app": "x"}))
    with staying(kubectl, *words) as said:
        assert said.readline().split()[:3] == [b"ADDED", b"before", b"0"]
        kubectl("create", "-f", "-", stdin=config("other", {"app": "y"}))
        kubectl("create", "-f", "-", stdin=config("mine", {"app": "x"}, a="1"))
        assert said.readline().split()[:3] == [b"ADDED", b"mine", b"1"]
        kubectl("label", "configmap", "mine", "app=y", "--overwrite")
        assert said.readline().split()[:2] == [b"DELETED", b"mine"]


def test_proxy_passes_on_and_filters(kubectl: Kubectl) -> None:
    with staying(kubectl, "proxy", "--port=0") as said:
        found = re.match(rb"Starting to serve on 127\.0\.0\.1:(\d+)", said.readline())
        assert found

        def get(path: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            result = answer.status, answer.read()
            connection.close()
            return result

        status, body = get(f"/api/v1/namespaces/{kubectl.namespace}")
        assert (status, json.loads(body)["metadata"]["name"]) == (200, kubectl.namespace)
        assert get("/api/v1/namespaces/none")[0] == 404
        assert get(f"/api/v1/namespaces/{kubectl.namespace}/pods/p/exec")[0] == 403
