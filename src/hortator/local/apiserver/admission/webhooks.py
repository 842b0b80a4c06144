"""Mutating and validating admission webhooks (admission.k8s.io/v1), in the order and words of upstream (1.36)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hortator.apimachinery import patches
from hortator.apimachinery.fielderrors import go_quote
from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.local.apiserver.admission.plugin import Attempt, Plugin
from hortator.local.apiserver.admission.webhook_rules import (
    ConditionFailed,
    conditions_hold,
    equivalent_version,
    selected,
)
from hortator.local.apiserver.catalog import Catalog, Served
from hortator.local.apiserver.objects import read
from hortator.local.apiserver.storage import Event, Storage
from hortator.local.apiserver.versions import in_version
from hortator.local.apiserver.webhook_client import CallFailed, WebhookClient

__all__ = ["MutatingWebhooks", "ValidatingWebhooks"]

log = logging.getLogger(__name__)

Object = dict[str, Any]

MUTATING = "admissionregistration.k8s.io/mutatingwebhookconfigurations"
VALIDATING = "admissionregistration.k8s.io/validatingwebhookconfigurations"


@dataclass(frozen=True, slots=True)
class _Hook:
    """One webhook that is to be called for one write."""

    webhook: Mapping[str, Any]
    served: Served

    @property
    def name(self) -> str:
        return str(self.webhook.get("name"))


class _Webhooks(Plugin):
    """What both kinds share: finding the webhooks and asking one."""

    resource = ""

    def __init__(self, storage: Storage, catalog: Catalog, client: WebhookClient) -> None:
        self._storage = storage
        self._catalog = catalog
        self._client = client
        self._webhooks: list[Mapping[str, Any]] | None = None
        storage.collection(self.resource).readers.add(self)

    def offer(self, event: Event) -> None:
        """Read the configurations again: one changed."""
        self._webhooks = None

    def _configured(self) -> list[Mapping[str, Any]]:
        if self._webhooks is None:
            self._webhooks = [
                webhook
                for item in self._storage.collection(self.resource).ordered()
                for webhook in item.decode().get("webhooks") or ()
            ]
        return self._webhooks

    def _concerned(self, attempt: Attempt) -> Iterator[_Hook]:
        webhooks = self._configured()
        if not webhooks:
            return
        versions = self._catalog.versions(attempt.served.storage)
        labels: Mapping[str, str] | None = None
        if attempt.served.kind.namespaced:
            item = self._storage.get("/namespaces", "", attempt.namespace)
            labels = item.labels if item is not None else {}
        for webhook in webhooks:
            served = equivalent_version(webhook, attempt, versions)
            if served is not None and selected(webhook, attempt, labels):
                yield _Hook(webhook, served)

    async def _ask(self, hook: _Hook, attempt: Attempt) -> Object | None:
        """Return the webhook's answer, or None when it is not to be asked or its failure is to be ignored."""
        webhook = hook.webhook
        request = await _request(hook, attempt)
        try:
            if not conditions_hold(webhook, request):
                return None
        except ConditionFailed as error:
            if webhook.get("failurePolicy") == "Ignore":
                return None
            raise StatusError.forbidden(
                attempt.served.plural, attempt.served.group, attempt.name, str(error)
            ) from error
        if attempt.dry_run and webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise StatusError.bad_request(f"admission webhook {go_quote(hook.name)} does not support dry run")
        review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
        try:
            if "v1" not in (webhook.get("admissionReviewVersions") or ("v1",)):
                raise CallFailed("webhook does not accept known AdmissionReview versions (v1)")
            answer = await self._client.post(
                webhook.get("clientConfig") or {}, review, seconds=float(webhook.get("timeoutSeconds") or 10)
            )
            response = _response(answer, request["uid"])
            if response.get("patch") is not None:
                response["patch"] = _patch_of(response)
        except CallFailed as error:
            if webhook.get("failurePolicy") == "Ignore":
                log.warning("webhook %s failed and is ignored: %s", hook.name, error)
                return None
            raise StatusError.internal(f"failed calling webhook {go_quote(hook.name)}: {error}") from error
        attempt.warnings.extend(str(text) for text in response.get("warnings") or ())
        if not response.get("allowed"):
            raise _denied(hook.name, response.get("status"))
        return response


class ValidatingWebhooks(_Webhooks):
    """Asks every validating webhook at once; the first refusal counts."""

    resource = VALIDATING

    async def validate(self, attempt: Attempt) -> None:
        """Refuse what a webhook denies."""
        hooks = list(self._concerned(attempt))
        if not hooks:
            return
        results = await asyncio.gather(*(self._ask(hook, attempt) for hook in hooks), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


class MutatingWebhooks(_Webhooks):
    """Asks mutating webhooks one after the other; those that want it a second time if the object changed since."""

    resource = MUTATING

    async def mutate(self, attempt: Attempt) -> None:
        """Apply the patches that webhooks answer with."""
        again: list[tuple[_Hook, Object | None]] = []
        for hook in list(self._concerned(attempt)):
            await self._change(hook, attempt)
            if hook.webhook.get("reinvocationPolicy") == "IfNeeded":
                again.append((hook, attempt.obj))
        for hook, seen in again:
            if attempt.obj is not seen and attempt.obj != seen:
                await self._change(hook, attempt)

    async def _change(self, hook: _Hook, attempt: Attempt) -> None:
        response = await self._ask(hook, attempt)
        if response is None or not response.get("patch") or attempt.obj is None:
            return
        served = attempt.served
        shown = await in_version(served, attempt.obj, hook.served.kind.api_version)
        try:
            changed = patches.json_patch(shown, response["patch"])
        except patches.PatchError as error:
            raise StatusError.internal(
                f"failed calling webhook {go_quote(hook.name)}: its patch cannot be applied: {error}"
            ) from error
        if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict):
            raise StatusError.internal(f"webhook {go_quote(hook.name)} left no object")
        back = await in_version(served, changed, served.kind.api_version)
        obj, _ = read(served, back, self._catalog.scheme)
        attempt.obj = obj


async def _request(hook: _Hook, attempt: Attempt) -> Object:
    """Return the AdmissionRequest for a webhook."""
    seen, asked = hook.served.kind, attempt.served.kind

    async def convert(obj: Object | None) -> Object | None:
        if obj is None or attempt.subresource_kind:
            return None
        return await in_version(hook.served, obj, seen.api_version)

    kind = attempt.subresource_kind or {"group": seen.group, "version": seen.version, "kind": seen.kind}
    request: Object = {
        "uid": str(uuid.uuid4()),
        "kind": kind,
        "resource": {"group": seen.group, "version": seen.version, "resource": seen.plural},
        "requestKind": attempt.subresource_kind
        or {"group": asked.group, "version": asked.version, "kind": asked.kind},
        "requestResource": {"group": asked.group, "version": asked.version, "resource": asked.plural},
        "operation": attempt.operation,
        "userInfo": {"username": attempt.user.name, "groups": list(attempt.user.groups)},
        "object": attempt.obj if attempt.subresource_kind else await convert(attempt.obj),
        "oldObject": await convert(attempt.old),
        "dryRun": attempt.dry_run,
        "options": attempt.options or None,
    }
    if attempt.user.uid:
        request["userInfo"]["uid"] = attempt.user.uid
    if attempt.user.extra:
        request["userInfo"]["extra"] = {key: list(values) for key, values in attempt.user.extra.items()}
    if attempt.subresource:
        request["subResource"] = request["requestSubResource"] = attempt.subresource
    if attempt.name:
        request["name"] = attempt.name
    namespace = attempt.namespace or (attempt.name if attempt.served.storage == "/namespaces" else "")
    if namespace:
        request["namespace"] = namespace
    return request


def _response(answer: Any, uid: str) -> Object:
    if not isinstance(answer, dict) or not isinstance(answer.get("response"), dict):
        raise CallFailed("received invalid webhook response: webhook response was absent")
    if answer.get("apiVersion") != "admission.k8s.io/v1" or answer.get("kind") != "AdmissionReview":
        raise CallFailed(
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, "
            f"Kind=AdmissionReview, got {answer.get('apiVersion')}, Kind={answer.get('kind')}"
        )
    response: Object = answer["response"]
    if response.get("uid") != uid:
        raise CallFailed(
            f"received invalid webhook response: expected response.uid={go_quote(uid)}, "
            f"got {go_quote(str(response.get('uid') or ''))}"
        )
    return response


def _patch_of(response: Object) -> Any:
    if response.get("patchType") != "JSONPatch":
        raise CallFailed(
            "received invalid webhook response: webhook returned response.patch but not response.patchType"
        )
    try:
        return msgspec.json.decode(base64.b64decode(response["patch"]))
    except (binascii.Error, msgspec.DecodeError, TypeError) as error:
        raise CallFailed(f"received invalid webhook response: the patch cannot be read: {error}") from error


def _denied(name: str, result: Any) -> StatusError:
    result = result if isinstance(result, dict) else {}
    denied = f"admission webhook {go_quote(name)} denied the request"
    if result.get("message"):
        message = f"{denied}: {result['message']}"
    elif result.get("reason"):
        message = f"{denied}: {result['reason']}"
    else:
        message = f"{denied} without explanation"
    status = ApiStatus.from_dict(result)
    given = result.get("code")
    code = given if isinstance(given, int) and given >= 400 else 400
    return StatusError(
        ApiStatus(
            code,
            status.reason,
            message,
            name=status.name,
            group=status.group,
            kind=status.kind,
            uid=status.uid,
            causes=status.causes,
            retry_after=status.retry_after,
        )
    )
