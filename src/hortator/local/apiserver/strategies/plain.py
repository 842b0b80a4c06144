"""Kinds without a strategy of their own: required fields, and the columns that upstream gives them."""

from __future__ import annotations

from hortator.apimachinery.fielderrors import FieldError
from hortator.local.apiserver.scheme import load_scheme
from hortator.local.apiserver.strategies.base import Object, Strategy
from hortator.local.apiserver.strategies.required import missing_fields

__all__ = ["PlainStrategy"]


class PlainStrategy(Strategy):
    """Structural validation only."""

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return an error for each required field that is absent."""
        return missing_fields(load_scheme().definition, self.kind.definition, obj)
