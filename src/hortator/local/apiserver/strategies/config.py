"""ConfigMaps and Secrets: keys and size of their data, immutability, the demands of a Secret's type."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, invalid, required, too_long
from hortator.apimachinery.meta import annotations_of, name_of
from hortator.apimachinery.names import config_map_key
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.checks import check_immutable

__all__ = ["ConfigMapStrategy", "SecretStrategy"]

MAXIMUM = 1024 * 1024
SEALED = "field is immutable when `immutable` is set"
REDACTED = "<secret contents redacted>"
#: Type -> keys that its data must have.
NEEDED = {
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
#: Type -> key whose value must be a JSON object.
DOCKER = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def _keys(data: Iterable[str], path: Path) -> list[FieldError]:
    return [invalid(path.key(key), key, message) for key in data for message in config_map_key(key)]


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


def _check_sealed(new: Object, old: Object, keys: tuple[str, ...]) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden(Path("immutable"), SEALED)]
    return errors + [
        forbidden(Path(key), SEALED) for key in keys if (new.get(key) or {}) != (old.get(key) or {})
    ]


class ConfigMapStrategy(Strategy):
    """Behaviour of ConfigMaps."""

    columns = (NAME, Column("Data"), AGE)

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a ConfigMap."""
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        errors = _keys(data, Path("data"))
        for key in data.keys() & binary.keys():
            words = "duplicate of key present in binaryData"
            errors.append(invalid(Path("data").key(key), key, words))
        errors += _keys(binary, Path("binaryData"))
        size = sum(len(value.encode()) for value in data.values())
        if size + sum(_decoded_size(value) for value in binary.values()) > MAXIMUM:
            errors.append(too_long(Path("[]"), MAXIMUM))
        return errors

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change of a ConfigMap."""
        return [*_check_sealed(new, old, ("data", "binaryData")), *self.validate_body(new)]

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a ConfigMap."""
        count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
        return [name_of(obj), count, age(obj, now)]


class SecretStrategy(Strategy):
    """Behaviour of Secrets."""

    columns = (NAME, Column("Type"), Column("Data"), AGE)

    def default(self, obj: Object) -> Object:
        """Return the Secret with its type, and with ``stringData`` written into ``data``."""
        result = {**obj, "type": obj.get("type") or "Opaque"}
        texts = result.pop("stringData", None)
        if texts:
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
            result["data"] = {**(obj.get("data") or {}), **encoded}
        return result

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a Secret."""
        data, path = obj.get("data") or {}, Path("data")
        errors = _keys(data, path)
        if sum(_decoded_size(value) for value in data.values()) > MAXIMUM:
            errors.append(too_long(path, MAXIMUM))
        return errors + _check_type(obj, data, path)

    def validate_body_update(self, new: Object, old: Object) -> list[FieldError]:
        """Return what is wrong with a change of a Secret."""
        errors = check_immutable(Path("type"), new.get("type"), old.get("type"))
        return [*errors, *_check_sealed(new, old, ("data",)), *self.validate_body(new)]

    def fields(self, obj: Object) -> Mapping[str, str]:
        """Return the fields that selectors of Secrets may name."""
        return {**super().fields(obj), "type": obj.get("type") or ""}

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a Secret."""
        return [name_of(obj), obj.get("type") or "", len(obj.get("data") or ()), age(obj, now)]


def _check_type(obj: Object, data: Mapping[str, str], path: Path) -> list[FieldError]:
    kind = obj.get("type") or ""
    if kind == "kubernetes.io/service-account-token":
        key = "kubernetes.io/service-account.name"
        if not annotations_of(obj).get(key):
            return [required(Path("metadata").child("annotations").key(key))]
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            return [required(path.key("username")), required(path.key("password"))]
    elif kind in DOCKER:
        key = DOCKER[kind]
        if key not in data:
            return [required(path.key(key))]
        try:
            content = json.loads(base64.b64decode(data[key]))
        except ValueError as error:
            return [invalid(path.key(key), REDACTED, str(error))]
        if not isinstance(content, dict):
            return [invalid(path.key(key), REDACTED, "must be a JSON object")]
    return [required(path.key(key)) for key in NEEDED.get(kind, ()) if not data.get(key)]
