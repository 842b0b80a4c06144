"""Conversion of custom resources by the webhook that their definition names (apiextensions.k8s.io/v1 ConversionReview).

Checks and words follow upstream's ``webhook_converter.go`` (1.36): the answer must have the objects that were asked for, in
the version asked for; of their metadata only labels and annotations may differ. What the schema of that version does not
know is pruned.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import Path, go_quote
from hortator.apimachinery.names import validate_annotations, validate_labels
from hortator.apimachinery.schema import Schema
from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.local.apiserver.webhook_client import CallFailed, WebhookClient

__all__ = ["WebhookConversion"]

Object = dict[str, Any]
REVIEW = "apiextensions.k8s.io/v1"
SECONDS = 30.0


class ConversionFailed(Exception):
    """Raised for an answer that cannot be used; ``str`` says what is wrong with it."""


class WebhookConversion:
    """Asks the webhook of one definition. ``schemas`` gives the schema of each version."""

    def __init__(
        self, conversion: Mapping[str, Any], schemas: Callable[[str], Schema], client: WebhookClient
    ) -> None:
        self._webhook = conversion.get("webhook") or {}
        self._schemas = schemas
        self._client = client

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """Return each object in a version, from one call of the webhook. Raises 500 when the webhook fails."""
        asked = [obj for obj in objects if obj["apiVersion"] != api_version]
        if not asked:
            return list(objects)
        try:
            made = iter(await self._ask(asked, api_version))
        except (ConversionFailed, CallFailed) as error:
            why = str(error).removeprefix("failed to call webhook: ")
            failed = "failed: " if isinstance(error, CallFailed) else ""
            what = f"{asked[0]['apiVersion']}, Kind={asked[0]['kind']}"
            # Upstream has no reason for it.
            raise StatusError(ApiStatus(500, "", f"conversion webhook for {what} {failed}{why}")) from error
        return [obj if obj["apiVersion"] == api_version else next(made) for obj in objects]

    async def _ask(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        if "v1" not in (self._webhook.get("conversionReviewVersions") or ()):
            raise ConversionFailed("failed: no supported conversion review versions")
        uid = str(uuid.uuid4())
        request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
        review = {"kind": "ConversionReview", "apiVersion": REVIEW, "request": request}
        answer = await self._client.post(self._webhook.get("clientConfig") or {}, review, seconds=SECONDS)
        found = converted_objects(answer, uid)
        if len(found) != len(objects):
            raise ConversionFailed(f"returned {len(found)} objects, expected {len(objects)}")
        schema = self._schemas(api_version)
        return [
            schema.prune(restored(old, new, api_version, index))[0]
            for index, (old, new) in enumerate(zip(objects, found, strict=True))
        ]


def converted_objects(answer: Any, uid: str) -> list[Any]:
    """Return the objects of a ConversionReview. Raises :class:`ConversionFailed` when it is none, or says it failed."""
    kind = (answer.get("apiVersion"), answer.get("kind")) if isinstance(answer, dict) else (None, None)
    if kind != (REVIEW, "ConversionReview"):
        raise ConversionFailed(
            f"failed: expected webhook response of {REVIEW}, Kind=ConversionReview, got {kind[0]}, Kind={kind[1]}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ConversionFailed("failed: no response provided")
    if response.get("uid") != uid:
        given = go_quote(str(response.get("uid") or ""))
        raise ConversionFailed(f"failed: expected response.uid={go_quote(uid)}, got {given}")
    result = response.get("result") or {}
    status = result.get("status") or ""
    if status != "Success":
        said = result.get("message") or f"response.result.status was '{status}', not 'Success'"
        raise ConversionFailed(f"failed: {said}")
    objects = response.get("convertedObjects") or []
    if not isinstance(objects, list):
        raise ConversionFailed("failed: response.convertedObjects is no list")
    return objects


def restored(old: Object, new: Any, api_version: str, index: int) -> Object:
    """Return a converted object with the metadata of the old one, but for labels and annotations.

    Raises :class:`ConversionFailed` when it is another object.
    """
    if not isinstance(new, dict):
        raise ConversionFailed(f"returned invalid object at index {index}: it is no object")
    for what, expected, received in (
        ("groupVersion", api_version, new.get("apiVersion")),
        ("kind", old["kind"], new.get("kind")),
    ):
        if received != expected:
            words = f"invalid {what} (expected {expected}, received {received})"
            raise ConversionFailed(f"returned invalid object at index {index}: {words}")
    metadata = new.get("metadata")
    if not isinstance(metadata, dict):
        raise ConversionFailed("returned invalid metadata: missing metadata in converted object")
    for key, word in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        before, now = old["metadata"].get(key) or "", metadata.get(key) or ""
        if before != now:
            raise ConversionFailed(f"returned invalid object: must have the same {word}: {before} != {now}")
    kept = {key: value for key, value in old["metadata"].items() if key not in ("labels", "annotations")}
    for key, check in (("labels", validate_labels), ("annotations", validate_annotations)):
        given = metadata.get(key)
        if given is None:
            continue
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise ConversionFailed(f"returned invalid metadata: metadata.{key} must be strings by name")
        if given != old["metadata"].get(key) and (errors := check(given, Path("metadata").child(key))):
            raise ConversionFailed(f"returned invalid metadata: {'; '.join(map(str, errors))}")
        kept[key] = given
    return {**new, "metadata": kept}
