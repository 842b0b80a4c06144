"""CronJobs: defaults, validation (the schedule included), columns."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, invalid, not_supported, required
from hortator.apimachinery.meta import name_of
from hortator.local.apiserver.strategies.ages import age, since
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.checks import check_choice, check_nonnegative
from hortator.local.apiserver.strategies.job import default_job_spec
from hortator.local.apiserver.strategies.job_validation import check_template_spec
from hortator.local.apiserver.strategies.templates import CONTAINER_COLUMNS, container_cells, format_selector

__all__ = ["CronJobStrategy"]

SPEC = Path("spec")
DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
#: Name, least and greatest number, and words that stand for numbers, of the five fields.
FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


class CronJobStrategy(Strategy):
    """Behaviour of CronJobs."""

    columns = (
        NAME,
        Column("Schedule"),
        Column("Timezone"),
        Column("Suspend", "boolean"),
        Column("Active", "integer"),
        Column("Last Schedule"),
        AGE,
        *CONTAINER_COLUMNS,
    )

    def default(self, obj: Object) -> Object:
        """Return the CronJob with upstream's defaults."""
        spec = {
            "concurrencyPolicy": "Allow",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            **(obj.get("spec") or {}),
        }
        template = spec.get("jobTemplate") or {}
        inner = default_job_spec(template.get("spec") or {})
        # A CronJob's template keeps open what the Job decides when it is made.
        for key in ("completions", "parallelism", "backoffLimit", "completionMode", "suspend"):
            if key not in (template.get("spec") or {}):
                inner.pop(key, None)
        for key in ("podReplacementPolicy", "manualSelector"):
            if key not in (template.get("spec") or {}):
                inner.pop(key, None)
        spec["jobTemplate"] = {**template, "spec": inner}
        return {**obj, "spec": spec}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a CronJob."""
        spec = obj.get("spec") or {}
        errors: list[FieldError] = []
        schedule = spec.get("schedule") or ""
        if not schedule:
            errors.append(required(SPEC.child("schedule")))
        elif "TZ" in schedule:
            words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.append(invalid(SPEC.child("schedule"), schedule, words))
        else:
            found = _schedule_error(schedule)
            if found:
                errors.append(invalid(SPEC.child("schedule"), schedule, found))
        errors += _time_zone(spec.get("timeZone"))
        for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            errors += check_nonnegative(SPEC.child(key), spec.get(key))
        policies = ("Allow", "Forbid", "Replace")
        errors += check_choice(SPEC.child("concurrencyPolicy"), spec.get("concurrencyPolicy"), policies)
        template = (spec.get("jobTemplate") or {}).get("spec") or {}
        here = SPEC.child("jobTemplate", "spec")
        errors += check_template_spec(template, here)
        if template.get("selector") is not None:
            words = "`selector` will be auto-generated"
            errors.append(invalid(here.child("selector"), template["selector"], words))
        if template.get("manualSelector"):
            errors.append(not_supported(here.child("manualSelector"), True, ("nil", "false")))
        if len(name_of(obj)) > 52:
            words = "must be no more than 52 characters"
            errors.append(invalid(Path("metadata").child("name"), name_of(obj), words))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a CronJob."""
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        last = status.get("lastScheduleTime")
        template = (spec.get("jobTemplate") or {}).get("spec") or {}
        return [
            name_of(obj),
            spec.get("schedule") or "",
            spec.get("timeZone") or "<none>",
            "True" if spec.get("suspend") else "False",
            len(status.get("active") or ()),
            since(last, now) if last else "<none>",
            age(obj, now),
            *container_cells(template.get("template")),
            format_selector(template.get("selector")),
        ]


def _time_zone(zone: str | None) -> list[FieldError]:
    here = SPEC.child("timeZone")
    if zone is None:
        return []
    if not zone:
        return [invalid(here, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [invalid(here, zone, words)]
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return [invalid(here, zone, f"unknown time zone {zone}")]
    return []


def _schedule_error(schedule: str) -> str:
    """Return why a schedule cannot be read, or ""."""
    if schedule.startswith("@"):
        if schedule in DESCRIPTORS or re.fullmatch(r"@every (\d+(\.\d+)?(ns|us|ms|s|m|h))+", schedule):
            return ""
        return f"unrecognized descriptor: {schedule}"
    parts = schedule.split()
    if len(parts) != len(FIELDS):
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    for part, (_, low, high, words) in zip(parts, FIELDS, strict=True):
        for item in part.split(","):
            found = _item_error(item, low, high, words)
            if found:
                return found
    return ""


def _item_error(item: str, low: int, high: int, words: tuple[str, ...]) -> str:
    span, slash, step = item.partition("/")
    if slash and (not step.isdigit() or int(step) == 0):
        return f"step of range should be a positive number: {item}"
    if span in ("*", "?"):
        return ""
    bounds = []
    for bound in span.split("-"):
        word = bound.lower()
        if word in words:
            bounds.append(words.index(word) + low)
        elif bound.isdigit():
            bounds.append(int(bound))
        else:
            return f"failed to parse int from {bound}: {item}"
    if len(bounds) > 2:
        return f"too many hyphens: {item}"
    if bounds[0] < low:
        return f"beginning of range ({bounds[0]}) below minimum ({low}): {item}"
    if bounds[-1] > high:
        return f"end of range ({bounds[-1]}) above maximum ({high}): {item}"
    if bounds[0] > bounds[-1]:
        return f"beginning of range ({bounds[0]}) beyond end of range ({bounds[-1]}): {item}"
    return ""
