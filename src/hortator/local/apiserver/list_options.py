"""Which options of lists and watches go together (upstream 1.36: ``ValidateListOptions``)."""

from __future__ import annotations

from collections.abc import Callable

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, not_supported
from hortator.apimachinery.status import StatusError

__all__ = ["check_options"]

_MATCH = Path("resourceVersionMatch")
_INITIAL = Path("sendInitialEvents")


def check_options(param: Callable[[str], str], *, watch: bool) -> None:
    """Raise 422 for options that contradict each other; ``param`` gives an option's value, empty where it is not set."""
    errors = _watch(param) if watch else _list(param)
    if errors:
        raise StatusError.invalid("ListOptions", "", errors, group="meta.k8s.io")


def _list(param: Callable[[str], str]) -> list[FieldError]:
    match, version = param("resourceVersionMatch"), param("resourceVersion")
    errors: list[FieldError] = []
    if match:
        if not version:
            errors.append(
                forbidden(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided")
            )
        if param("continue"):
            errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            errors.append(not_supported(_MATCH, match, ("Exact", "NotOlderThan", "")))
        if match == "Exact" and version == "0":
            errors.append(
                forbidden(_MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
            )
    if param("sendInitialEvents"):
        errors.append(forbidden(_INITIAL, "sendInitialEvents is forbidden for list"))
    return errors


def _watch(param: Callable[[str], str]) -> list[FieldError]:
    match, initial = param("resourceVersionMatch"), param("sendInitialEvents")
    errors: list[FieldError] = []
    if initial and match != "NotOlderThan":
        errors.append(
            forbidden(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        )
    if match:
        if not initial:
            words = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            errors.append(forbidden(_MATCH, words))
        if match != "NotOlderThan":
            errors.append(not_supported(_MATCH, match, ("NotOlderThan",)))
        if param("continue"):
            errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    return errors
