"""APIServices: this server answers for every group itself, and says so to who wants another server behind it."""

from __future__ import annotations

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden
from hortator.local.apiserver.strategies.base import Object
from hortator.local.apiserver.strategies.plain import PlainStrategy

__all__ = ["APIServiceStrategy"]


class APIServiceStrategy(PlainStrategy):
    """Behaviour of APIServices."""

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with an APIService; another server behind this one always is."""
        errors = super().validate_body(obj)
        if (obj.get("spec") or {}).get("service"):
            errors.append(
                forbidden(Path("spec").child("service"), "the local cluster passes no requests on to others")
            )
        return errors
