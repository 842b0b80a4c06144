"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) on decoded values.

Inputs are never changed; results share with them whatever stayed the same. Errors carry the status code with which
an API server answers (``k8s.io/apiserver`` 1.36): 400 for a patch that cannot be understood, 413 for one that is too
large, 422 for one that does not fit the object.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hortator.apimachinery.nesting import MAXIMUM_DEPTH, too_deep
from hortator.apimachinery.status import ApiStatus, StatusError

__all__ = ["PatchError", "json_equal", "json_patch", "merge_patch"]

#: Operations in one JSON patch, as upstream's server allows.
MAXIMUM_OPERATIONS = 10_000
#: Bytes of JSON that all copy operations of one patch may add together (upstream's request limit).
MAXIMUM_COPIED = 3 * 1024 * 1024


class PatchError(StatusError):
    """A patch that cannot be applied; ``code`` says whose fault it is (see the module)."""

    @classmethod
    def malformed(cls, message: str) -> PatchError:
        """400: this is not a patch."""
        return cls(ApiStatus(400, "BadRequest", message))

    @classmethod
    def nested(cls) -> PatchError:
        """400: lists and maps are nested deeper than any object may be."""
        return cls.malformed(f"the patch nests values more than {MAXIMUM_DEPTH} levels deep")

    @classmethod
    def mismatch(cls, message: str) -> PatchError:
        """422: the patch does not fit the object."""
        text = f"the server rejected our request due to an error in our request: {message}"
        return cls(ApiStatus(422, "Invalid", text))

    @classmethod
    def too_large(cls, message: str) -> PatchError:
        """413: the patch does too much."""
        return cls(ApiStatus(413, "RequestEntityTooLarge", f"Request entity too large: {message}"))


def json_equal(left: Any, right: Any) -> bool:
    """Compare two JSON values; unlike ``==``, true is not 1. Numbers are equal when their values are."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(json_equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(json_equal(one, other) for one, other in zip(left, right, strict=True))
        )
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def merge_patch(doc: Any, patch: Any) -> Any:
    """Return ``doc`` with a JSON merge patch applied. Raises PatchError (400) if the patch is no object."""
    if not isinstance(patch, dict):
        raise PatchError.malformed("Invalid JSON Patch: a merge patch must be an object")
    if too_deep(patch):
        raise PatchError.nested()
    return _merge(doc, patch)


def _merge(doc: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(doc) if isinstance(doc, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


_ARGUMENTS = {
    "add": "value",
    "replace": "value",
    "test": "value",
    "remove": None,
    "move": "from",
    "copy": "from",
}
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise PatchError.mismatch(f"{text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


class _Document:
    """A document under change. Containers that this patch has copied already may be changed in place."""

    def __init__(self, root: Any):
        self.root = root
        self.own: dict[int, Any] = {}

    def writable(self, container: Any) -> Any:
        if id(container) in self.own:
            return container
        copy = container.copy()
        self.own[id(copy)] = copy
        return copy

    def get(self, path: list[str], text: str) -> Any:
        value = self.root
        for part in path:
            value = _child(value, part, text)
        return value

    def parent(self, path: list[str], text: str) -> Any:
        """Return the container that the path's last part is in, with all containers above it writable."""
        if not isinstance(self.root, (dict, list)):
            raise _missing(text)
        container = self.root = self.writable(self.root)
        for part in path[:-1]:
            child = _child(container, part, text)
            if not isinstance(child, (dict, list)):
                raise _missing(text)
            child = self.writable(child)
            container[part if isinstance(container, dict) else int(part)] = child
            container = child
        return container

    def add(self, path: list[str], value: Any, text: str) -> None:
        if not path:
            self.root = value
            return
        container, last = self.parent(path, text), path[-1]
        if isinstance(container, dict):
            container[last] = value
        elif last == "-":
            container.append(value)
        elif _INDEX.fullmatch(last) and int(last) <= len(container):
            container.insert(int(last), value)
        else:
            raise PatchError.mismatch(f"index {last} of {text!r} is out of bounds")

    def remove(self, path: list[str], text: str) -> Any:
        if not path:
            raise PatchError.mismatch("the whole document cannot be removed")
        container, last = self.parent(path, text), path[-1]
        value = _child(container, last, text)
        del container[last if isinstance(container, dict) else int(last)]
        return value

    def replace(self, path: list[str], value: Any, text: str) -> None:
        if not path:
            self.root = value
            return
        container, last = self.parent(path, text), path[-1]
        if isinstance(container, dict):
            # Upstream's library (evanphx/json-patch 4) adds a member that is not there; RFC 6902 would have it refused.
            container[last] = value
        else:
            _child(container, last, text)
            container[int(last)] = value


def _missing(text: str) -> PatchError:
    return PatchError.mismatch(f"there is nothing at {text!r}")


def _child(container: Any, part: str, text: str) -> Any:
    if isinstance(container, dict) and part in container:
        return container[part]
    if isinstance(container, list) and _INDEX.fullmatch(part) and int(part) < len(container):
        return container[int(part)]
    raise _missing(text)


def json_patch(doc: Any, operations: Any) -> Any:
    """Return ``doc`` with a JSON patch applied. Raises PatchError (400, 413 or 422)."""
    if not isinstance(operations, list):
        raise PatchError.malformed("Invalid JSON Patch: it must be a list of operations")
    if len(operations) > MAXIMUM_OPERATIONS:
        raise PatchError.too_large(
            f"The allowed maximum operations in a JSON patch is {MAXIMUM_OPERATIONS}, got {len(operations)}"
        )
    if too_deep(operations):
        raise PatchError.nested()
    document = _Document(doc)
    copied = 0
    for operation in operations:
        if not isinstance(operation, dict):
            raise PatchError.malformed("Invalid JSON Patch: each operation must be an object")
        kind, text = operation.get("op"), operation.get("path")
        if not isinstance(kind, str) or kind not in _ARGUMENTS:
            raise PatchError.mismatch(f"unexpected kind of operation: {kind!r}")
        if not isinstance(text, str):
            raise PatchError.mismatch(f"operation {kind!r} has no path")
        argument = _ARGUMENTS[kind]
        if argument is not None and argument not in operation:
            raise PatchError.mismatch(f"operation {kind!r} on {text!r} has no {argument!r}")
        path = _pointer(text)
        if kind == "add":
            document.add(path, operation["value"], text)
        elif kind == "replace":
            document.replace(path, operation["value"], text)
        elif kind == "remove":
            document.remove(path, text)
        elif kind == "test":
            if not json_equal(document.get(path, text), operation["value"]):
                raise PatchError.mismatch(f"testing value {text} failed")
        else:
            source = str(operation["from"])
            origin = _pointer(source)
            if kind == "move":
                if path[: len(origin)] == origin and len(path) > len(origin):
                    raise PatchError.mismatch(f"{source!r} cannot be moved into itself")
                value = document.remove(origin, source) if origin else document.root
            else:
                value = document.get(origin, source)
                text_of_value = json.dumps(value)
                copied += len(text_of_value)
                if copied > MAXIMUM_COPIED:
                    raise PatchError.too_large(f"copied values exceed {MAXIMUM_COPIED} bytes")
                # A value of its own: in two places, the next change to either would have to copy it again.
                value = json.loads(text_of_value)
            document.add(path, value, text)
    if too_deep(document.root):
        raise PatchError.nested()
    return document.root
