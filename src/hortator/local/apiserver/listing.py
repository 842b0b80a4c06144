"""Reading many objects: lists and watches, and the forms in which one or many objects are shown.

Version rules follow upstream (1.36): no resourceVersion means the newest, ``0`` anything, a number at least that version,
``resourceVersionMatch=Exact`` exactly that one. The pages of one list show one version; when the history no longer
reaches back to it, the client is told to start again (410).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.selectors import FieldSelector, InvalidSelector, LabelSelector
from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.kube.http import Response
from hortator.local.apiserver.bodies import JSON_HEADERS, Accepted, Format, accepted, encode
from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.list_options import check_options
from hortator.local.apiserver.requests import boolean
from hortator.local.apiserver.storage import Collection, Item, Storage, TooOld
from hortator.local.apiserver.tables import make_table
from hortator.local.apiserver.versions import shown
from hortator.local.apiserver.watch import Selection, Watcher

__all__ = ["Form", "list_objects", "selection", "watch_objects"]

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_FIELDS_OF_ALL = ("metadata.name", "metadata.namespace")
#: Lists with more objects than this are put together in a thread when each object has to be decoded.
_THREAD_OBJECTS = 300


class Form:
    """How objects of one resource are shown to one client."""

    def __init__(
        self, served: Served, accept: Accepted, *, include: str, now: Callable[[], datetime]
    ) -> None:
        self.served = served
        self.accept = accept
        self._include = include
        self._now = now
        self.plain = accept.format == Format.OBJECT
        self.api_version = served.kind.api_version
        #: Encodings made under equal keys are equal (ages in tables aside, which differ by the second).
        self.key = (accept.format, accept.version, include, self.api_version)

    def one(self, item: Item, revision: int = 0) -> bytes:
        """Return one object; with ``revision`` as if it had that version."""
        revision = revision or item.revision
        if self.plain and item.api_version == self.api_version and revision == item.revision:
            return item.data
        obj = self.decode(item, revision)
        if self.accept.format == Format.TABLE:
            table = self._table([obj])
            table["metadata"] = {"resourceVersion": str(revision)}
            return encode(table)
        if self.accept.format in (Format.PARTIAL, Format.PARTIAL_LIST):
            return encode(self._partial(obj))
        return encode(obj)

    def many(self, items: Sequence[Item], metadata: dict[str, Any]) -> bytes:
        """Return a list of objects."""
        if self.accept.format == Format.TABLE:
            table = self._table([self.decode(item) for item in items])
            table["metadata"] = metadata
            return encode(table)
        kind, version = self.served.kind.list_kind_name, self.api_version
        if self.accept.format == Format.PARTIAL_LIST:
            kind, version = Format.PARTIAL_LIST, f"meta.k8s.io/{self.accept.version}"
        head = encode({"kind": kind, "apiVersion": version, "metadata": metadata})
        return b"".join((head[:-1], b',"items":[', b",".join([self.one(item) for item in items]), b"]}"))

    def decode(self, item: Item, revision: int = 0) -> dict[str, Any]:
        """Return the object in the version of this resource."""
        obj = item.decode()
        if revision and revision != item.revision:
            obj["metadata"]["resourceVersion"] = str(revision)
        if item.api_version != self.api_version:
            return self.served.convert(obj, self.api_version)
        return obj

    def bookmark(self, revision: int, initial_end: bool) -> bytes:
        """Return the line of a bookmark event."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        if self.accept.format == Format.TABLE:
            table = self._table([])
            table["metadata"] = {"resourceVersion": str(revision)}
            # The columns are said once; the marker of the initial events travels in a row, as upstream has it.
            table["rows"] = [
                {
                    "cells": [],
                    "object": {"kind": Format.PARTIAL, "apiVersion": "meta.k8s.io/v1", "metadata": metadata},
                }
            ]
            return b'{"type":"BOOKMARK","object":' + encode(table) + b"}\n"
        kind, version = self.served.kind.kind, self.api_version
        if self.accept.format == Format.PARTIAL:
            kind, version = Format.PARTIAL, f"meta.k8s.io/{self.accept.version}"
        obj = {"kind": kind, "apiVersion": version, "metadata": metadata}
        return b'{"type":"BOOKMARK","object":' + encode(obj) + b"}\n"

    def event(self, kind: str, item: Item, revision: int) -> bytes:
        """Return the line of a watch event."""
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), self.one(item, revision))

    def _table(self, objects: list[dict[str, Any]]) -> dict[str, Any]:
        return make_table(
            self.served.kind, self.served.strategy, objects, include_object=self._include, now=self._now()
        )

    def _partial(self, obj: dict[str, Any]) -> dict[str, Any]:
        return {
            "kind": Format.PARTIAL,
            "apiVersion": f"meta.k8s.io/{self.accept.version}",
            "metadata": obj["metadata"],
        }


def form_of(call: Call, *, many: bool) -> Form:
    """Return the form that the client of a read takes. Raises 406."""
    formats = [Format.TABLE, Format.PARTIAL_LIST if many else Format.PARTIAL]
    accept = accepted(call.request, *formats)
    include = call.request.param("includeObject") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        raise StatusError.bad_request(f"unrecognized includeObject value: {go_quote(include)}")
    return Form(call.served, accept, include=include, now=call.clock)


def selection(call: Call) -> Selection:
    """Return which objects the query is about. Raises 400 for selectors that cannot be read."""
    labels_text = call.request.param("labelSelector")
    fields_text = call.request.param("fieldSelector")
    try:
        labels = LabelSelector.parse(labels_text) if labels_text else None
        fields = FieldSelector.parse(fields_text) if fields_text else None
    except InvalidSelector as error:
        raise StatusError.bad_request(str(error)) from error
    if fields is not None:
        supported = {*call.served.strategy.fields({"metadata": {}}), *_FIELDS_OF_ALL}
        for field in (requirement.field for requirement in fields.requirements):
            if field not in supported:
                every = ", ".join(go_quote(known) for known in _FIELDS_OF_ALL)
                raise StatusError.bad_request(
                    f"field label not supported: {field}"
                    if supported > set(_FIELDS_OF_ALL)
                    else f"{go_quote(field)} is not a known field selector: only {every}"
                )
    return Selection(call.namespace, "", labels, fields)


def _number(call: Call, name: str) -> int | None:
    text = call.request.param(name)
    if not text:
        return None
    if not text.isascii() or not text.isdigit():
        raise StatusError.bad_request(f"invalid {name}: {go_quote(text)} must be a non-negative whole number")
    if len(text) > 18:  # beyond what 64 bits hold, give or take
        raise StatusError.bad_request(f"invalid {name}: {go_quote(text[:100])}: value out of range")
    return int(text)


def _too_large(wanted: int, current: int) -> StatusError:
    message = f"Too large resource version: {wanted}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(ApiStatus(504, "Timeout", f"Timeout: {message}", causes=(cause,), retry_after=1))


def _token(revision: int, item: Item) -> str:
    value = {"v": "meta.k8s.io/v1", "rv": revision, "start": [item.namespace, item.name]}
    return base64.urlsafe_b64encode(encode(value)).rstrip(b"=").decode()


def _read_token(text: str) -> tuple[int, tuple[str, str]]:
    try:
        value = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        namespace, name = value["start"]
        if value["v"] != "meta.k8s.io/v1" or not isinstance(name, str) or not isinstance(namespace, str):
            raise ValueError(value)
        return int(value["rv"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise StatusError.bad_request("continue key is not valid") from error


def _page(
    collection: Collection, storage: Storage, call: Call
) -> tuple[list[Item], int, tuple[str, str] | None]:
    """Return the objects to choose from, the version they show, and after which key to start."""
    token = call.request.param("continue")
    match = call.request.param("resourceVersionMatch")
    wanted = _number(call, "resourceVersion")
    try:
        if token:
            if wanted:
                raise StatusError.bad_request(
                    "specifying resource version is not allowed when using continue"
                )
            revision, start = _read_token(token)
            return collection.ordered_at(revision, call.namespace), revision, start
        if match == "Exact" and wanted:
            if wanted > storage.revision:
                raise _too_large(wanted, storage.revision)
            return collection.ordered_at(wanted, call.namespace), wanted, None
    except TooOld as error:
        message = (
            "The provided continue parameter is too old to display a consistent list result. You must start a new "
            "list without the continue parameter."
            if token
            else f"The resourceVersion for the provided list is too old. ({error})"
        )
        raise StatusError.expired(message) from error
    if wanted is not None and wanted > storage.revision:
        raise _too_large(wanted, storage.revision)
    return collection.ordered(call.namespace), storage.revision, None


async def list_objects(call: Call, storage: Storage) -> Response:
    """Answer a list."""
    form = form_of(call, many=True)
    chosen = selection(call)
    check_options(call.request.param, watch=False)
    limit = _number(call, "limit") or 0
    collection = storage.collection(call.served.storage)
    items, revision, start = _page(collection, storage, call)
    if start is not None:
        items = [item for item in items if (item.namespace, item.name) > start]
    if chosen.labels is not None or chosen.fields is not None:
        items = [item for item in await shown(call.served, items) if chosen.matches(item)]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if limit and len(items) > limit:
        metadata["continue"] = _token(revision, items[limit - 1])
        if chosen.labels is None and chosen.fields is None:
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    items = list(await shown(call.served, items))
    if form.plain or len(items) < _THREAD_OBJECTS:
        body = form.many(items, metadata)
    else:
        body = await asyncio.to_thread(form.many, items, metadata)
    return Response(200, JSON_HEADERS, body)


def watch_objects(call: Call, storage: Storage, *, jitter: Callable[[], float] = random.random) -> Response:
    """Answer a watch; its only event is a 410 when the asked version is older than the history."""
    form = form_of(call, many=False)
    chosen = selection(call)
    wanted = _number(call, "resourceVersion")
    bookmarks = boolean(call.request, "allowWatchBookmarks")
    initial = call.request.param("sendInitialEvents")
    if initial not in ("", "true", "false", "1", "0"):
        raise StatusError.bad_request(f"sendInitialEvents: Invalid value: {go_quote(initial)}")
    check_options(call.request.param, watch=True)
    streaming = initial in ("true", "1")
    seconds = _number(call, "timeoutSeconds")
    timeout = float(seconds) if seconds else 1800.0 * (1 + jitter())
    collection = storage.collection(call.served.storage)
    items: list[Item] = []
    since = []
    if wanted is not None and wanted > storage.revision:
        raise _too_large(wanted, storage.revision)
    if streaming or (not wanted and initial == ""):
        items = collection.ordered(call.namespace)
        if call.served.converter is None:
            items = [item for item in items if chosen.matches(item)]
    elif wanted:
        try:
            since = collection.events_since(wanted)
        except TooOld as error:
            # As upstream's watch cache has it: the stream begins, and its first event is the error.
            line = encode({"type": "ERROR", "object": StatusError.expired(str(error)).to_dict()}) + b"\n"
            return Response(200, JSON_HEADERS, stream=_once(line))
    watcher = Watcher(
        collection,
        chosen,
        render=form.event,
        render_key=form.key,
        bookmark=form.bookmark if bookmarks else None,
        revision=lambda: storage.revision,
        timeout=timeout,
        translate=None if call.served.converter is None else partial(shown, call.served),
    )
    watcher.begin(items, since, end_marker=streaming)
    return Response(200, JSON_HEADERS, stream=watcher)


async def _once(line: bytes) -> AsyncIterator[bytes]:
    yield line
