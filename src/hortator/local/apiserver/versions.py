"""Objects in the version that a client asks for, where that is not the one they are stored in.

Versions of built-in kinds, and of definitions with the strategy ``None``, are translated in place (:mod:`.conversion`);
where a webhook has to be asked, :mod:`.crd_conversion` does, and what it made of a stored object is kept beside that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hortator.local.apiserver.catalog import Served
from hortator.local.apiserver.storage import Item, Key, Storage

__all__ = ["in_version", "shown"]

Object = dict[str, Any]


async def in_version(served: Served, obj: Object, api_version: str) -> Object:
    """Return an object of a resource in another of its versions. Raises 500 when the webhook fails."""
    if obj.get("apiVersion") == api_version:
        return obj
    if served.converter is None:
        return served.convert(obj, api_version)
    return (await served.converter.convert([obj], api_version))[0]


async def shown(served: Served, items: Sequence[Item], *, fresh: bool = False) -> Sequence[Item]:
    """Return stored objects as items of the served version, where a webhook has to be asked for that; else as they are.

    With ``fresh`` the webhook is asked even for what it was asked before. Raises 500 when it fails.
    """
    converter, version = served.converter, served.kind.api_version
    if converter is None or all(item.api_version == version for item in items):
        return items
    asked = [
        item
        for item in items
        if item.api_version != version and (fresh or (converter, version) not in item.views)
    ]
    if asked:
        objects = await converter.convert([item.decode() for item in asked], version)
        for item, obj in zip(asked, objects, strict=True):
            key = Key(served.storage, item.namespace, item.name)
            item.views[(converter, version)] = Storage.preview(key, obj, fields=served.strategy.fields(obj))
    return [item if item.api_version == version else item.views[(converter, version)] for item in items]
