"""Plain HTTPS to one API server, as its kubeconfig tells the way: what is sent and what comes back, nothing in between."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

__all__ = ["APPLY", "JSON_PATCH", "MERGE", "STRATEGIC", "TABLE", "Answer", "Server"]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

Object = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came back: status code, headers (names in lower case) and the body, decoded where it is JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def __repr__(self) -> str:
        return f"{self.status} {json.dumps(self.body) if not isinstance(self.body, str) else self.body}"[
            :3000
        ]

    @property
    def ok(self) -> Any:
        """The body of an answer that has to be a success."""
        assert 200 <= self.status < 300, self
        return self.body

    @property
    def refusal(self) -> tuple[int, str, list[tuple[str, str]]]:
        """Status code, reason, and (field, reason) of each cause of an answer that has to be a failure."""
        assert self.status >= 400, self
        if not isinstance(self.body, dict):
            return self.status, "", []
        causes = (self.body.get("details") or {}).get("causes") or []
        found = [(cause.get("field", ""), cause.get("reason", "")) for cause in causes]
        return self.status, self.body.get("reason", ""), sorted(found)


class Watch:
    """The events of a watch, as they come. ``timeout`` seconds without one end the iteration with TimeoutError."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def __iter__(self) -> Iterator[Object]:
        while line := self._response.readline():
            yield json.loads(line)

    def next(self) -> Object:
        """Return the next event that is no bookmark."""
        return next(event for event in self if event["type"] != "BOOKMARK")

    def take(self, count: int) -> list[tuple[str, str]]:
        """Return type and object name of the next events, bookmarks left out."""
        return [
            (event["type"], event["object"]["metadata"]["name"])
            for event in itertools.islice((event for event in self if event["type"] != "BOOKMARK"), count)
        ]


class Server:
    """One API server: ``server("GET", path)`` and a verb for each method.

    ``name`` is ``local`` or ``kubernetes``. Requests are the administrator's unless ``token`` or ``user`` (impersonation,
    with ``groups``) say otherwise; ``token=""`` is nobody.
    """

    def __init__(self, name: str, kubeconfig: Path) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        config = yaml.safe_load(kubeconfig.read_text())
        self._cluster = config["clusters"][0]["cluster"]
        self._user = config["users"][0]["user"]
        parts = urlsplit(self._cluster["server"])
        self.host, self.port = parts.hostname or "", parts.port or 443

    @property
    def authority(self) -> bytes:
        """The certificate that the server's is signed with (PEM)."""
        return base64.b64decode(self._cluster["certificate-authority-data"])

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.decode())

    @cached_property
    def _tls_as_owner(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.decode())
        if "client-certificate-data" in self._user:
            with tempfile.NamedTemporaryFile() as file:
                for part in ("client-certificate-data", "client-key-data"):
                    file.write(base64.b64decode(self._user[part]))
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
        user: str = "",
        groups: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """Send a request; ``body`` is bytes, or anything that is sent as JSON."""
        connection = self.connect(timeout, owner=token is None)
        try:
            self._send(connection, method, path, body, query, kind, accept, token, user, groups, headers)
            response = connection.getresponse()
            raw = response.read()
            fields = {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()
        is_json = "json" in fields.get("content-type", "")
        decoded = json.loads(raw) if is_json and raw else raw.decode(errors="replace")
        return Answer(response.status, fields, decoded)

    def get(self, path: str, **options: Any) -> Answer:
        return self("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        return self("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        return self("PUT", path, body, **options)

    def patch(self, path: str, body: Any, kind: str = MERGE, **options: Any) -> Answer:
        return self("PATCH", path, body, kind=kind, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self("DELETE", path, body, **options)

    def apply(
        self, path: str, body: Object, manager: str = "tests", *, force: bool = False, **options: Any
    ) -> Answer:
        """Apply on the server's side."""
        query = {"fieldManager": manager, "force": str(force).lower(), **options.pop("query", {})}
        return self("PATCH", path, body, kind=APPLY, query=query, **options)

    @contextmanager
    def watch(
        self,
        path: str,
        *,
        timeout: float = 20,
        token: str | None = None,
        accept: str = "application/json",
        **query: Any,
    ) -> Iterator[Watch]:
        """Watch a collection. An answer that is no stream is an AssertionError."""
        connection = self.connect(timeout, owner=token is None)
        try:
            wanted = {"watch": "1", **query}
            self._send(connection, "GET", path, None, wanted, "", accept, token, "", (), None)
            response = connection.getresponse()
            assert response.status == 200, (response.status, response.read())
            yield Watch(response)
        finally:
            connection.close()

    def connect(self, timeout: float = 30, *, owner: bool = True) -> http.client.HTTPSConnection:
        """Return a connection of the administrator's, or of nobody's."""
        context = self._tls_as_owner if owner else self._tls
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)

    def _send(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, Any] | None,
        kind: str,
        accept: str,
        token: str | None,
        user: str,
        groups: tuple[str, ...],
        more: Mapping[str, str] | None,
    ) -> None:
        if query:
            path += ("&" if "?" in path else "?") + urlencode(query, doseq=True)
        if body is not None and not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        token = self._user.get("token") if token is None else token
        connection.putrequest(method, path, skip_accept_encoding=True)
        fields = [("accept", accept)]
        fields += [("authorization", f"Bearer {token}")] if token else []
        fields += [("impersonate-user", user)] if user else []
        fields += [("impersonate-group", group) for group in groups]
        fields += list((more or {}).items())
        if body is not None:
            fields += [("content-type", kind), ("content-length", str(len(body)))]
        for name, value in fields:
            connection.putheader(name, value)
        connection.endheaders(body)
