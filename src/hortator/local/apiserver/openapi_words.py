"""What ``kubectl explain`` says of the fields that every object has; of all others the documents hold no prose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["METADATA", "TYPE_META", "explained"]

TYPE_META = {
    "apiVersion": {
        "type": "string",
        "description": "APIVersion defines the API group and version that this object is written in.",
    },
    "kind": {"type": "string", "description": "Kind is the type of the object, as its API group names it."},
}
METADATA = "Standard object's metadata: its name, labels, owners and history."

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_FIELDS = {
    "annotations": "Annotations are notes of tools and people; nothing selects by them.",
    "creationTimestamp": "CreationTimestamp is a timestamp of when the server made the object. Read-only.",
    "deletionGracePeriodSeconds": "Seconds that the object has between its deletion's request and its end. Read-only.",
    "deletionTimestamp": "When the object is to be gone, once its deletion was asked for. Read-only.",
    "finalizers": "Who has work to do before the object may go; each takes its own entry away.",
    "generateName": "A beginning for a name that the server completes, used where no name is given.",
    "generation": "Counts the changes of what is wanted (the spec). Read-only.",
    "labels": "Labels are what objects are selected by.",
    "managedFields": "Who set which fields, as server-side apply keeps the books.",
    "name": "The name, unique among the kind's objects in the namespace. Cannot be changed.",
    "namespace": "The namespace that the object is in; empty for kinds of the whole cluster. Cannot be changed.",
    "ownerReferences": "The objects that this one goes with: when all are gone, it is deleted.",
    "resourceVersion": "Changes with every write; a write that names an older one is refused.",
    "selfLink": "No longer set.",
    "uid": "Tells this object from others that had its name before. Read-only.",
}


def explained(name: str, definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a built-in definition with the words that belong to it."""
    if name != _OBJECT_META:
        return definition
    properties = {
        key: {**node, "description": _FIELDS[key]} if key in _FIELDS else node
        for key, node in definition["properties"].items()
    }
    return {**definition, "properties": properties}
