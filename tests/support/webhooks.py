"""A webhook for tests of a real server: HTTPS on 127.0.0.1; keeps what it is asked, and answers as the test says."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.certificates import Authority

__all__ = ["Webhook", "json_patch", "running_webhook"]

Object = dict[str, Any]
#: Makes the response of a review from its request; what is no dict is a status code and the whole body.
Answerer = Callable[[Object], Object | tuple[int, bytes]]


class Webhook:
    """What a test says to a running webhook, and what that heard, by path."""

    def __init__(self, url: str, authority: Authority) -> None:
        self.url = url
        self.bundle = base64.b64encode(authority.pem).decode()
        self._answers: dict[str, Answerer] = {}
        self._asked: list[tuple[str, Object]] = []
        self._lock = threading.Lock()

    def on(self, path: str, answer: Answerer) -> Object:
        """Answer at a path from now on; returns the ``clientConfig`` that leads there."""
        self._answers[path] = answer
        return {"url": self.url + path, "caBundle": self.bundle}

    def asked(self, path: str) -> list[Object]:
        """Return the reviews that came to a path so far."""
        with self._lock:
            return [review for at, review in self._asked if at == path]

    def answer(self, path: str, review: Object) -> tuple[int, bytes]:
        """Return status code and body."""
        with self._lock:
            self._asked.append((path, review))
        found = self._answers[path](review["request"])
        if isinstance(found, tuple):
            return found
        response = {"uid": review["request"]["uid"], **found}
        body = {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}
        return 200, json.dumps(body).encode()


@contextmanager
def running_webhook(folder: Path) -> Iterator[Webhook]:
    """Run a webhook; ``folder`` keeps its certificate."""
    authority = Authority()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = webhook.answer(urlsplit(self.path).path, review)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = authority.server_context(folder).wrap_socket(server.socket, server_side=True)
        webhook = Webhook(f"https://127.0.0.1:{server.server_address[1]}", authority)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield webhook
        server.shutdown()
        thread.join()


def json_patch(*operations: Object) -> Object:
    """Return the response of an admission webhook that allows and changes."""
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}
