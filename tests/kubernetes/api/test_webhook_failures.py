"""Webhooks that cannot be asked: what the person hears whose request waited for them."""

from __future__ import annotations

import base64
import itertools
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from support.certificates import Authority
from support.server import Answer, Server
from support.staying import until

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
FAILED = 'Internal error occurred: failed calling webhook "hook.example.com": '
_NUMBERS = itertools.count(1)

TEXT, JSON = "text/plain; charset=utf-8", "application/json"
#: What the webhook answers at each path: status code, media type and body.
ANSWERS = {
    "/missing": (404, TEXT, b"nothing here"),
    "/busy": (503, TEXT, b"later"),
    "/forbidden": (403, TEXT, b"go away"),
    "/teapot": (418, TEXT, b"short and stout"),
    "/moved": (302, TEXT, b""),
    "/broken": (500, TEXT, b"it broke"),
    "/broken-quietly": (500, JSON, b'"it broke"'),
    "/status": (500, JSON, b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"it said so"}'),
    "/garbage": (200, JSON, b"no JSON"),
    "/empty": (200, JSON, b""),
    "/silent": (200, JSON, b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}'),
}


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, kind, body = ANSWERS[self.path.partition("?")[0]]
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def port(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A webhook on 127.0.0.1."""
    context = authority.server_context(tmp_path_factory.mktemp("webhook"))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Webhook) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _ask(server: Server, namespace: str, url: str, trusted: bytes, **more: Any) -> Answer:
    """Register a webhook for one name of a ConfigMap and create that; the name says when the server knows the webhook."""
    name = f"hook-{next(_NUMBERS)}.example.com"
    config = {"url": url, "caBundle": base64.b64encode(trusted).decode()}
    hook = {
        "name": "hook.example.com",
        "clientConfig": config,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
        ],
        **more,
    }
    body = {"metadata": {"name": name}, "webhooks": [hook]}
    server.post(CONFIGURATIONS, body).ok  # noqa: B018
    answers: list[Answer] = []

    def refused() -> bool:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        answers.append(server.post(path, {"metadata": {"generateName": "a-"}}))
        return answers[-1].status != 201

    try:
        until(refused, "a refusal: the server learns of the webhook a moment later", seconds=20)
    finally:
        server.delete(f"{CONFIGURATIONS}/{name}").ok  # noqa: B018
    return answers[-1]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/missing", "the server could not find the requested resource"),
        ("/busy", "the server is currently unable to handle the request"),
        ("/forbidden", "go away"),
        ("/teapot", "the server responded with the status code 418 but did not return more information"),
        ("/moved", "the server responded with the status code 302 but did not return more information"),
        ("/broken", 'an error on the server ("it broke") has prevented the request from succeeding'),
        ("/broken-quietly", 'an error on the server ("unknown") has prevented the request from succeeding'),
        ("/status", "it said so"),
        ("/empty", "0-length response with status code: 200 and content type: application/json"),
    ],
)
def test_what_a_webhook_answers_instead_of_a_review(
    server: Server, namespace: str, authority: Authority, port: int, path: str, why: str
) -> None:
    answer = _ask(server, namespace, f"https://127.0.0.1:{port}{path}", authority.pem)
    assert answer.refusal == (500, "InternalError", [("", "")])
    assert answer.body["message"] == f"{FAILED}failed to call webhook: {why}"


def test_an_answer_that_cannot_be_read(
    server: Server, namespace: str, authority: Authority, port: int
) -> None:
    answer = _ask(server, namespace, f"https://127.0.0.1:{port}/garbage", authority.pem)
    start = f"{FAILED}failed to call webhook: couldn't get version/kind; json parse error: "
    assert answer.body["message"].startswith(start)


def test_a_review_without_a_response(server: Server, namespace: str, authority: Authority, port: int) -> None:
    answer = _ask(server, namespace, f"https://127.0.0.1:{port}/silent", authority.pem)
    assert answer.body["message"] == f"{FAILED}received invalid webhook response: webhook response was absent"


def test_a_webhook_that_does_not_listen(server: Server, namespace: str, authority: Authority) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        answer = _ask(server, namespace, url + "/silent", authority.pem)
    why = f"dial tcp {url.removeprefix('https://')}: connect: connection refused"
    assert answer.body["message"] == (
        f'{FAILED}failed to call webhook: Post "{url}/silent?timeout=5s": {why}'
    )


def test_a_webhook_whose_certificate_nobody_vouches_for(server: Server, namespace: str, port: int) -> None:
    url = f"https://127.0.0.1:{port}/silent"
    answer = _ask(server, namespace, url, Authority().pem)
    why = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    start = f'{FAILED}failed to call webhook: Post "{url}?timeout=5s": {why}'
    assert answer.body["message"].startswith(start)
