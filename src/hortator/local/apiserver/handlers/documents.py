"""Answers to paths that name no resource: discovery, OpenAPI, version and health."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from hortator.apimachinery.status import StatusError
from hortator.kube.http import Request, Response
from hortator.local.apiserver import discovery, openapi, openapi_v2
from hortator.local.apiserver.bodies import JSON_HEADERS, Format, accepted, encode, json_response, media_type
from hortator.local.apiserver.catalog import Catalog
from hortator.local.apiserver.scheme import Kind

__all__ = ["Documents"]

#: What upstream answers; clients ask for it with an ``@`` before the last version.
_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class Documents:
    """Documents are made when first asked for, and again after the catalog changed."""

    def __init__(self, catalog: Catalog, *, kubernetes: str) -> None:
        self._catalog = catalog
        self._version = kubernetes
        self._made: dict[str, tuple[bytes, str]] = {}
        self._generation = -1

    def answer(self, request: Request) -> Response:
        """Return the document at a path. Raises 404, 405, 406."""
        path = request.path.rstrip("/") or "/"
        if request.method not in ("GET", "HEAD"):
            if self._exists(path):
                raise StatusError.method_not_allowed("", "", request.method.lower())
            raise StatusError.unknown_path()
        if path in ("/healthz", "/livez", "/readyz") or path.startswith(("/healthz/", "/livez/", "/readyz/")):
            return Response(200, {"content-type": "text/plain; charset=utf-8"}, b"ok")
        if path in ("/api", "/apis"):
            return self._group_lists(request, core=path == "/api")
        if path == "/openapi/v2" and "proto-openapi.spec.v2" in request.headers.get("accept", ""):
            return Response(200, {"content-type": _V2_PROTOBUF}, openapi_v2.EMPTY_PROTOBUF)
        body, tag = self._document(path)
        if tag and request.headers.get("if-none-match", "").strip('"') == tag:
            return Response(304, {"etag": f'"{tag}"'})
        accepted_or_any(request)
        return Response(200, {**JSON_HEADERS, "etag": f'"{tag}"', "cache-control": "public"}, body)

    def _exists(self, path: str) -> bool:
        try:
            self._document(path)
        except StatusError:
            return path in ("/api", "/apis", "/healthz", "/livez", "/readyz")
        return True

    def _group_lists(self, request: Request, *, core: bool) -> Response:
        accept = accepted(request, Format.DISCOVERY)
        if accept.format == Format.DISCOVERY:
            body, tag = self._make(f"{accept.version} {core}", lambda: self._aggregated(core, accept.version))
            headers = {
                "content-type": f"application/json;g=apidiscovery.k8s.io;v={accept.version};as=APIGroupDiscoveryList",
                "etag": f'"{tag}"',
                "vary": "Accept",
                "cache-control": "public",
            }
            if request.headers.get("if-none-match", "").strip('"') == tag:
                return Response(304, {"etag": f'"{tag}"'})
            return Response(200, headers, body)
        if core:
            return json_response(discovery.core_versions())
        return json_response(self._make("groups", lambda: discovery.group_list(self._kinds()))[0])

    def _aggregated(self, core: bool, version: str) -> dict[str, Any]:
        document = discovery.aggregated(self._kinds(), core=core)
        document["apiVersion"] = f"apidiscovery.k8s.io/{version}"
        return document

    def _document(self, path: str) -> tuple[bytes, str]:
        parts = path.strip("/").split("/")
        if path == "/":
            return self._make(path, lambda: {"paths": self._paths()})
        if path == "/version":
            return self._make(path, lambda: discovery.version(self._version))
        if parts[0] == "api" and len(parts) == 2:
            return self._make(path, lambda: discovery.resource_list(self._kinds(), "", parts[1]))
        if parts[0] == "apis" and len(parts) == 2:
            return self._make(path, lambda: discovery.group(self._kinds(), parts[1]))
        if parts[0] == "apis" and len(parts) == 3:
            return self._make(path, lambda: discovery.resource_list(self._kinds(), parts[1], parts[2]))
        if path == "/openapi/v2":
            return self._make(path, self._openapi_v2)
        if path == "/openapi/v3":
            return self._make(path, self._openapi_index)
        if path.startswith("/openapi/v3/api"):
            return self._make(path, lambda: self._openapi(parts[2:]))
        raise StatusError.unknown_path()

    def _make(self, key: str, build: Callable[[], dict[str, Any] | None]) -> tuple[bytes, str]:
        if self._generation != self._catalog.generation:
            self._made.clear()
            self._generation = self._catalog.generation
        found = self._made.get(key)
        if found is None:
            document = build()
            if document is None:
                raise StatusError.unknown_path()
            body = encode(document)
            found = self._made[key] = (body, hashlib.sha256(body).hexdigest()[:32].upper())
        return found

    def _kinds(self) -> list[Kind]:
        return [served.kind for served in self._catalog.all()]

    def _paths(self) -> list[str]:
        found = {"/api", "/apis", "/healthz", "/livez", "/readyz", "/version", "/openapi/v2", "/openapi/v3"}
        for served in self._catalog.all():
            found.add("/" + openapi.path_of(served.group, served.kind.version))
            if served.group:
                found.add(f"/apis/{served.group}")
        return sorted(found)

    def _openapi_index(self) -> dict[str, Any]:
        custom = {(served.group, served.kind.version) for served in self._catalog.custom()}
        marks: dict[str, bytes] = {}
        for served in self._catalog.all():
            group, version = served.group, served.kind.version
            # The hash only has to change when the document does; documents follow from the catalog.
            mark = str(self._catalog.generation) if (group, version) in custom else ""
            marks[openapi.path_of(group, version)] = f"{group} {version} {mark} {self._version}".encode()
        return openapi.index(marks)

    def _openapi_v2(self) -> dict[str, Any]:
        custom = {openapi.custom_definition_name(each.kind): each.openapi for each in self._catalog.custom()}
        return openapi_v2.document(self._kinds(), self._catalog.scheme.definition, custom)

    def _openapi(self, parts: list[str]) -> dict[str, Any] | None:
        group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
        if parts[0] == "apis" and len(parts) == 3:
            group, version = parts[1], parts[2]
        if not self._catalog.has_version(group, version):
            return None
        custom = {
            openapi.custom_definition_name(served.kind): served.openapi
            for served in self._catalog.custom()
            if (served.group, served.kind.version) == (group, version)
        }
        if not custom:
            return self._catalog.scheme.openapi_document(group, version)
        kinds = [kind for kind in self._kinds() if (kind.group, kind.version) == (group, version)]
        return openapi.document(kinds, self._catalog.scheme.definition, custom)


def accepted_or_any(request: Request) -> None:
    """Refuse clients that cannot read JSON. Raises 406."""
    for entry in request.headers.get("accept", "*/*").split(","):
        if media_type(entry) in ("application/json", "application/*", "*/*", "", "text/plain"):
            return
    raise StatusError.not_acceptable(("application/json",))
