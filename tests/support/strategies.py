"""Strategies by resource name, objects for them, and their errors as text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError
from hortator.local.apiserver.scheme import Kind, load_scheme
from hortator.local.apiserver.strategies import strategy_for
from hortator.local.apiserver.strategies.base import Object, Strategy

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CREATED = "2026-03-01T11:58:00Z"


def kind_of(resource: str) -> Kind:
    """Return the kind of ``plural`` or ``plural.group``, in the version that is stored."""
    return next(kind for kind in load_scheme().kinds() if kind.group_resource == resource)


def strategy(resource: str) -> Strategy:
    """Return the strategy of ``plural`` or ``plural.group``."""
    return strategy_for(kind_of(resource))


def named(name: str = "a", **rest: Any) -> Object:
    """Return an object with the metadata that the server has filled in."""
    metadata = {"name": name, "uid": "uid-1", "creationTimestamp": CREATED, **rest.pop("metadata", {})}
    return {"metadata": metadata, **rest}


def created(resource: str, obj: Object) -> Object:
    """Return the object as creation leaves it: decoded, defaulted, prepared."""
    kind = kind_of(resource)
    decoded, unknown = load_scheme().decode(kind.definition, obj)
    assert not unknown
    made = strategy(resource)
    if kind.namespaced:
        decoded["metadata"] = {"namespace": "default", **decoded["metadata"]}
    return made.prepare_create(made.default(decoded))


def refused(resource: str, obj: Object) -> list[str]:
    """Return the messages with which creation of the object is refused."""
    return texts(strategy(resource).validate(created(resource, obj)))


def changed(resource: str, old: Object, new: Object) -> list[str]:
    """Return the messages with which the change is refused."""
    made = strategy(resource)
    return texts(made.validate_update(made.prepare_update(made.default(new), old), old))


def cells(resource: str, obj: Object) -> dict[str, Any]:
    """Return the table's cells by column name."""
    made = strategy(resource)
    row = made.row(obj, NOW)
    return dict(zip([column.name for column in made.columns], row, strict=True))


def texts(errors: Iterable[FieldError]) -> list[str]:
    """Return errors as users see them."""
    return [str(error) for error in errors]


def pod(**spec: Any) -> Object:
    """Return a pod with one container; ``container`` adds to the container, the rest to the spec."""
    container = {"name": "main", "image": "busybox", **spec.pop("container", {})}
    return named("pod", spec={"containers": [container], **spec})


def template(**spec: Any) -> Object:
    """Return a pod template labelled ``app=a``."""
    return {"metadata": {"labels": {"app": "a"}}, "spec": pod(**spec)["spec"]}
