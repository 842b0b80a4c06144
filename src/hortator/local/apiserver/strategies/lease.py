"""Leases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, invalid
from hortator.apimachinery.meta import name_of
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.checks import check_nonnegative

__all__ = ["LeaseStrategy"]


class LeaseStrategy(Strategy):
    """Behaviour of leases."""

    columns = (NAME, Column("Holder"), AGE)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a lease."""
        spec, path = obj.get("spec") or {}, Path("spec")
        errors: list[FieldError] = []
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            errors.append(invalid(path.child("leaseDurationSeconds"), seconds, "must be greater than 0"))
        errors += check_nonnegative(path.child("leaseTransitions"), spec.get("leaseTransitions"))
        if spec.get("preferredHolder") and not spec.get("strategy"):
            words = "may only be specified if `strategy` is defined"
            errors.append(forbidden(path.child("preferredHolder"), words))
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a lease."""
        return [name_of(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]
