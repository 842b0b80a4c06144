"""Validation of a pod's volumes. Rules and words are upstream's (``core/validation``, 1.36).

Sources that only name a storage system's own settings are checked for their required fields by the scheme's
table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hortator.apimachinery.fielderrors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from hortator.apimachinery.names import dns1123_label
from hortator.apimachinery.quantity import Quantity, parse
from hortator.local.apiserver.strategies.checks import check_file_mode, check_local_path, check_name
from hortator.local.apiserver.strategies.pod_environment import check_downward_field, check_downward_resource

__all__ = ["check_volumes"]

Object = Mapping[str, Any]

VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
MAXIMUM_EXPIRATION = 2**32


def check_volumes(volumes: Sequence[Object], path: Path) -> tuple[dict[str, Object], list[FieldError]]:
    """Return the good volumes by name, and what is wrong with the others."""
    good: dict[str, Object] = {}
    errors: list[FieldError] = []
    for index, volume in enumerate(volumes):
        here = path.index(index)
        name = volume.get("name") or ""
        found = _source(volume, here)
        found += check_name(here.child("name"), name, dns1123_label)
        if name in good:
            found.append(duplicate(here.child("name"), name))
        if found:
            errors += found
        else:
            good[name] = volume
    return good, errors


def _source(volume: Object, path: Path) -> list[FieldError]:
    present = [key for key, value in volume.items() if key != "name" and value is not None]
    if not present:
        return [required(path, "must specify a volume type")]
    errors = [forbidden(path.child(key), "may not specify more than 1 volume type") for key in present[1:]]
    key = present[0]
    check = CHECKS.get(key)
    return errors + (check(volume[key], path.child(key)) if check else [])


def _empty_dir(source: Object, path: Path) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and parse(limit) < Quantity():
        return [forbidden(path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(source: Object, path: Path) -> list[FieldError]:
    where = source.get("path") or ""
    if not where:
        return [required(path.child("path"))]
    errors = []
    if ".." in where.split("/"):
        errors.append(invalid(path.child("path"), where, "must not contain '..'"))
    kind = source.get("type") or ""
    if kind not in HOST_PATH_TYPES:
        errors.append(not_supported(path.child("type"), kind, HOST_PATH_TYPES))
    return errors


def _named(field: str) -> Any:
    def check(source: Object, path: Path) -> list[FieldError]:
        errors = [] if source.get(field) else [required(path.child(field))]
        errors += check_file_mode(path.child("defaultMode"), source.get("defaultMode"))
        return errors + _items(source.get("items") or (), path.child("items"))

    return check


def _items(items: Sequence[Object], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        here = path.index(index)
        if not item.get("key"):
            errors.append(required(here.child("key")))
        if not item.get("path"):
            errors.append(required(here.child("path")))
        errors += check_local_path(here.child("path"), item.get("path") or "")
        errors += check_file_mode(here.child("mode"), item.get("mode"))
    return errors


def _claim(source: Object, path: Path) -> list[FieldError]:
    return [] if source.get("claimName") else [required(path.child("claimName"))]


def _downward(source: Object, path: Path) -> list[FieldError]:
    errors = check_file_mode(path.child("defaultMode"), source.get("defaultMode"))
    for item in source.get("items") or ():
        errors += _downward_file(item, path)
    return errors


def _downward_file(item: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not item.get("path"):
        errors.append(required(path.child("path")))
    errors += check_local_path(path.child("path"), item.get("path") or "")
    if item.get("fieldRef") is not None:
        errors += check_downward_field(item["fieldRef"], VOLUME_FIELDS, path.child("fieldRef"))
        if item.get("resourceFieldRef") is not None:
            words = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid(path, "resource", words))
    elif item.get("resourceFieldRef") is not None:
        where = path.child("resourceFieldRef")
        errors += check_downward_resource(item["resourceFieldRef"], where, volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + check_file_mode(path.child("mode"), item.get("mode"))


def _projected(source: Object, path: Path) -> list[FieldError]:
    errors = check_file_mode(path.child("defaultMode"), source.get("defaultMode"))
    taken: set[str] = set()

    def take(where: str, shown: str) -> None:
        if where in taken:
            errors.append(invalid(path, shown, "conflicting duplicate paths"))
        elif where:
            taken.add(where)

    for index, part in enumerate(source.get("sources") or ()):
        here = path.child("sources").index(index)
        for key in ("secret", "configMap"):
            if part.get(key) is not None:
                if not part[key].get("name"):
                    errors.append(required(here.child(key, "name")))
                errors += _items(part[key].get("items") or (), here.child(key, "items"))
                for item in part[key].get("items") or ():
                    take(item.get("path") or "", part[key].get("name") or "")
        if part.get("downwardAPI") is not None:
            for item in part["downwardAPI"].get("items") or ():
                errors += _downward_file(item, here.child("downwardAPI"))
                take(item.get("path") or "", item.get("path") or "")
        if part.get("serviceAccountToken") is not None:
            errors += _token(part["serviceAccountToken"], here.child("serviceAccountToken"), path)
        if len(part) > 1:
            errors.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return errors


def _token(token: Object, path: Path, volume: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seconds = token.get("expirationSeconds") or 0
    if seconds < 600:
        words = "may not specify a duration less than 10 minutes"
        errors.append(invalid(path.child("expirationSeconds"), seconds, words))
    if seconds > MAXIMUM_EXPIRATION:
        words = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid(path.child("expirationSeconds"), seconds, words))
    if not token.get("path"):
        return [*errors, required(volume.child("path"))]
    return errors + check_local_path(volume.child("path"), token["path"])


CHECKS = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _named("secretName"),
    "configMap": _named("name"),
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
}
