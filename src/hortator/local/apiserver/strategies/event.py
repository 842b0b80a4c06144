"""Events, in the words of core/v1 and of events.k8s.io/v1: validation, selectable fields, columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, invalid, required
from hortator.apimachinery.meta import name_of, namespace_of
from hortator.apimachinery.names import qualified_name
from hortator.local.apiserver.strategies.ages import since
from hortator.local.apiserver.strategies.base import Column, Object, Strategy, wide
from hortator.local.apiserver.strategies.checks import check_immutable

__all__ = ["EventStrategy", "NewEventStrategy"]

REFERENCE_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
LIMITS = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}


class EventStrategy(Strategy):
    """Behaviour of events of core/v1."""

    columns = (
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        wide("Subobject"),
        wide("Source"),
        Column("Message"),
        wide("First Seen"),
        wide("Count"),
        Column("Name", format="name", priority=1),
    )
    #: Names that differ between the two versions, by their name in core/v1.
    names: Mapping[str, str] = {
        "involvedObject": "involvedObject",
        "message": "message",
        "source": "source",
        "firstTimestamp": "firstTimestamp",
        "lastTimestamp": "lastTimestamp",
        "count": "count",
        "reportingComponent": "reportingComponent",
    }

    def value(self, obj: Object, name: str) -> Any:
        """Return a field by its name in core/v1."""
        return obj.get(self.names.get(name, name))

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with an event."""
        namespace = namespace_of(obj)
        involved = (self.value(obj, "involvedObject") or {}).get("namespace") or ""
        where = Path(self.names["involvedObject"]).child("namespace")
        words = "does not match event.namespace"
        errors: list[FieldError] = []
        if not obj.get("eventTime"):
            if (involved and involved != namespace) or (not involved and namespace not in ("", "default")):
                errors.append(invalid(where, involved, words))
            return errors
        if not involved and namespace not in ("default", "kube-system"):
            errors.append(invalid(where, involved, words))
        reporter = self.value(obj, "reportingComponent") or ""
        here = Path(self.names["reportingComponent"])
        if not reporter:
            errors.append(required(here))
        errors += [invalid(here, reporter, message) for message in qualified_name(reporter)]
        for key, limit in LIMITS.items():
            text = self.value(obj, key) or ""
            path = Path(self.names.get(key, key))
            if not text and key != "message":
                errors.append(required(path))
            if len(text) > limit:
                errors.append(invalid(path, "", f"can have at most {limit} characters"))
        return errors

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of events may name."""
        involved = self.value(obj, "involvedObject") or {}
        prefix = self.names["involvedObject"]
        source = (self.value(obj, "source") or {}).get("component")
        reporter = self.value(obj, "reportingComponent") or ""
        return {
            **super().fields(obj),
            **{f"{prefix}.{key}": involved.get(key) or "" for key in REFERENCE_FIELDS},
            "reason": obj.get("reason") or "",
            self.names["reportingComponent"]: reporter,
            "source": source or reporter,
            "type": obj.get("type") or "",
        }

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of an event."""
        first = since(self.value(obj, "firstTimestamp") or obj.get("eventTime"), now)
        last_time = self.value(obj, "lastTimestamp")
        last = since(last_time, now) if last_time else first
        count = self.value(obj, "count") or 1
        series = obj.get("series")
        if series:
            last, count = since(series.get("lastObservedTime"), now), series.get("count") or 0
        involved = self.value(obj, "involvedObject") or {}
        target = (involved.get("kind") or "").lower()
        if involved.get("name"):
            target += f"/{involved['name']}"
        source = self.value(obj, "source") or {}
        component = source.get("component") or self.value(obj, "reportingComponent") or ""
        instance = source.get("host") or obj.get("reportingInstance") or ""
        return [
            last,
            obj.get("type") or "",
            obj.get("reason") or "",
            target,
            involved.get("fieldPath") or "",
            f"{component}, {instance}" if instance else component,
            (self.value(obj, "message") or "").strip(),
            first,
            count,
            name_of(obj),
        ]


class NewEventStrategy(EventStrategy):
    """Behaviour of events of events.k8s.io/v1, which are stricter."""

    names = {  # noqa: RUF012 - never changed
        "involvedObject": "regarding",
        "message": "note",
        "source": "deprecatedSource",
        "firstTimestamp": "deprecatedFirstTimestamp",
        "lastTimestamp": "deprecatedLastTimestamp",
        "count": "deprecatedCount",
        "reportingComponent": "reportingController",
    }

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a new event."""
        errors = super().validate_body(obj)
        if not obj.get("eventTime"):
            errors.append(required(Path("eventTime")))
        if not obj.get("type"):
            errors.append(required(Path("type")))
        elif obj["type"] not in ("Normal", "Warning"):
            errors.append(invalid(Path("type"), "", f"has invalid value: {obj['type']}"))
        for key in ("firstTimestamp", "lastTimestamp", "count"):
            if self.value(obj, key):
                errors.append(invalid(Path(key), "", "needs to be unset"))
        series = obj.get("series")
        if series is not None and (series.get("count") or 0) < 2:
            errors.append(invalid(Path("series.count"), "", "should be at least 2"))
        return errors

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change: only the series may."""
        errors: list[FieldError] = []
        for key in ("regarding", "note", "reason", "type", "action", "related", "reportingController"):
            errors += check_immutable(Path(key), new.get(key), old.get(key))
        return errors
