"""Priority and DefaultTolerationSeconds: what new pods get from priority classes, and how long they bear lost nodes."""

from __future__ import annotations

from typing import Any

import msgspec

from hortator.apimachinery.status import StatusError
from hortator.local.apiserver.admission.plugin import CREATE, UPDATE, Attempt, Plugin
from hortator.local.apiserver.storage import Item, Storage

__all__ = ["DefaultTolerations", "Priorities"]

Object = dict[str, Any]

_CLASSES = "scheduling.k8s.io/priorityclasses"
_TOLERATION_SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class Priorities(Plugin):
    """Resolves ``priorityClassName``, and keeps the global default single."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def mutate(self, attempt: Attempt) -> None:
        """Set priority and preemption policy of a new pod. Raises 403."""
        if attempt.operation != CREATE or not attempt.is_for("/pods") or attempt.obj is None:
            return
        spec: Object = {**(attempt.obj.get("spec") or {})}
        name = spec.get("priorityClassName") or ""
        if name:
            item = self._storage.get(_CLASSES, "", name)
            if item is None:
                raise StatusError.forbidden(
                    "pods", "", attempt.name, f"no PriorityClass with name {name} was found"
                )
        else:
            item = self._default()
        value, policy = 0, "PreemptLowerPriority"
        if item is not None:
            chosen = item.decode()
            value = chosen.get("value") or 0
            policy = chosen.get("preemptionPolicy") or policy
            spec["priorityClassName"] = item.name
        given = spec.get("priority")
        if given is not None and given != value:
            raise StatusError.forbidden(
                "pods",
                "",
                attempt.name,
                f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
                f"controller computed {value} from the given PriorityClass name",
            )
        spec["priority"] = value
        if spec.get("preemptionPolicy") and spec["preemptionPolicy"] != policy:
            raise StatusError.forbidden(
                "pods",
                "",
                attempt.name,
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod "
                f"spec; priority admission controller computed {policy} from the given PriorityClass name",
            )
        spec["preemptionPolicy"] = policy
        attempt.obj = {**attempt.obj, "spec": spec}

    async def validate(self, attempt: Attempt) -> None:
        """Refuse a second global default."""
        if attempt.operation not in (CREATE, UPDATE) or not attempt.is_for(_CLASSES) or attempt.obj is None:
            return
        if attempt.obj.get("globalDefault"):
            other = self._default()
            if other is not None and other.name != attempt.obj["metadata"].get("name"):
                raise StatusError.forbidden(
                    "priorityclasses",
                    "scheduling.k8s.io",
                    attempt.obj["metadata"].get("name") or "",
                    f"PriorityClass {other.name} is already marked as default. Only one default can exist",
                )

    def _default(self) -> Item | None:
        for item in self._storage.collection(_CLASSES).ordered():
            if b'"globalDefault":true' in item.data and msgspec.json.decode(item.data).get("globalDefault"):
                return item
        return None


class DefaultTolerations(Plugin):
    """Lets new pods bear a node that is lost for five minutes, unless they say otherwise."""

    async def mutate(self, attempt: Attempt) -> None:
        """Add the two tolerations where a pod has none for these taints."""
        if attempt.operation != CREATE or not attempt.is_for("/pods") or attempt.obj is None:
            return
        spec: Object = attempt.obj.get("spec") or {}
        tolerations = list(spec.get("tolerations") or [])
        for taint in _TAINTS:
            if not any(_tolerates(toleration, taint) for toleration in tolerations):
                tolerations.append(
                    {
                        "key": taint,
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": _TOLERATION_SECONDS,
                    }
                )
        attempt.obj = {**attempt.obj, "spec": {**spec, "tolerations": tolerations}}


def _tolerates(toleration: Object, taint: str) -> bool:
    return toleration.get("key") in (taint, "", None) and toleration.get("effect") in ("NoExecute", "", None)
