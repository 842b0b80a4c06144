"""The writing verbs: create, update and delete of one object, built in or custom, over storage and admission.

Each verb is a loop of: read what is there, make the new object, let admission complete and judge it, validate, write over
exactly what was read. When somebody else was quicker it starts again, unless the client named the version it meant.
Reading many objects is :mod:`.listing`'s, the meaning of a patch :mod:`.patching`'s, of a deletion :mod:`.deletion`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from hortator.apimachinery import fielderrors
from hortator.apimachinery.fielderrors import FieldError, go_quote
from hortator.apimachinery.status import ApiStatus, StatusError
from hortator.local.apiserver import deletion, management, objects
from hortator.local.apiserver.admission.plugin import CREATE, DELETE, UPDATE, Attempt, Chain
from hortator.local.apiserver.authorization import Attributes, Authorizer
from hortator.local.apiserver.bodies import decode
from hortator.local.apiserver.catalog import Catalog, Served
from hortator.local.apiserver.context import Call
from hortator.local.apiserver.deletion import DeleteOptions
from hortator.local.apiserver.scheme import DecodeError
from hortator.local.apiserver.storage import Item, Key, Stale, Storage
from hortator.local.apiserver.versions import in_version

__all__ = ["Registry", "Result"]

Object = dict[str, Any]
_ATTEMPTS = 32
_NAME_ATTEMPTS = 8


class Result:
    """What a write left: the object as it is now (or would be, for a dry run), and whether it still exists."""

    __slots__ = ("created", "deleted", "item")

    def __init__(self, item: Item, *, created: bool = False, deleted: bool = False) -> None:
        self.item = item
        self.created = created
        self.deleted = deleted


class Registry:
    """The verbs over one storage."""

    def __init__(self, storage: Storage, catalog: Catalog, admission: Chain, authorizer: Authorizer) -> None:
        self.storage = storage
        self.catalog = catalog
        self.admission = admission
        self.authorizer = authorizer

    async def body(self, call: Call) -> Object:
        """Read the request's body as an object of the call's resource; add warnings to the call.

        Raises 400, 413 or 415 for a body that cannot be read, 400 for unknown or repeated fields under ``Strict``.
        """
        validation = call.field_validation
        duplicates: list[str] = []
        body = await decode(
            call.request,
            protobuf=None if call.served.custom else self.catalog.scheme.decode_protobuf,
            duplicates=None if validation == "Ignore" else duplicates,
        )
        return self.read(call, body, duplicates)

    async def body_of(self, api_version: str, kind: str, call: Call) -> Object:
        """Read the request's body as an object of a kind that is no resource of its own (Scale, TokenRequest)."""
        scheme = self.catalog.scheme
        body = await decode(call.request, protobuf=scheme.decode_protobuf) if call.request.body else {}
        if not isinstance(body, dict):
            raise StatusError.bad_request(f"the body must be a {kind}")
        given = (body.get("apiVersion") or api_version, body.get("kind") or kind)
        definition = scheme.definition_name(api_version, kind)
        if given != (api_version, kind) or definition is None:
            raise StatusError.bad_request(
                f"the object provided is {given[0]}, Kind={given[1]}, not {api_version}, Kind={kind}"
            )
        try:
            obj, unknown = scheme.decode(definition, body)
        except DecodeError as error:
            raise StatusError.bad_request(
                f"{kind} in version {go_quote(api_version)} cannot be handled as a {kind}: {error.message}"
            ) from error
        if unknown and call.field_validation == "Strict":
            problems = ", ".join(f"unknown field {go_quote(path)}" for path in unknown)
            raise StatusError.bad_request(f"strict decoding error: {problems}")
        return obj

    def read(self, call: Call, body: Any, duplicates: Sequence[str] = ()) -> Object:
        """Make an object of the call's resource from a decoded body, as ``fieldValidation`` says."""
        obj, unknown = objects.read(call.served, body, self.catalog.scheme)
        if unknown or duplicates:
            validation = call.field_validation
            if validation == "Strict":
                raise objects.strict_error(call.served, unknown, duplicates)
            if validation == "Warn":
                call.warnings.extend(objects.warn_of_unknown(unknown, duplicates))
        return obj

    async def create(self, call: Call, obj: Object, *, track: bool = True) -> Result:
        """Store a new object. Raises 409 when the name is taken, 422 when it breaks rules, 403 by admission."""
        served = call.served
        if served.terminating:
            words = "create not allowed while custom resource definition is terminating"
            name = obj["metadata"].get("name") or ""
            raise StatusError.forbidden(served.plural, served.group, name, words)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            # Upstream (1.36) has no reason for it either.
            raise StatusError(
                ApiStatus(500, "", "resourceVersion should not be set on objects to be created")
            )
        obj = self._in_namespace(call, obj)
        generated = not metadata.get("name") and bool(metadata.get("generateName"))
        for _ in range(_NAME_ATTEMPTS if generated else 1):
            candidate = obj
            if generated:
                name = objects.generate_name(metadata["generateName"])
                candidate = {**obj, "metadata": {**obj["metadata"], "name": name}}
            try:
                return await self._create(call, candidate, track=track)
            except Stale as stale:
                taken = stale.key.name
        if generated:
            raise StatusError.generate_name_conflict(served.plural, served.group, taken)
        raise StatusError.already_exists(served.plural, served.group, taken)

    async def _create(self, call: Call, obj: Object, *, track: bool) -> Result:
        served, strategy = call.served, call.served.strategy
        obj = objects.begin_create(
            obj, now=call.now, counts_generation=served.counts_generation and "spec" in obj
        )
        obj = strategy.default(obj)
        name = obj["metadata"].get("name", "")
        attempt = Attempt(
            CREATE,
            served,
            call.user,
            call.namespace,
            name,
            obj,
            dry_run=call.dry_run,
            options=self._options(call, "CreateOptions"),
            warnings=call.warnings,
        )
        admitted = await self.admission.mutate(attempt, obj)
        if admitted is not obj:
            obj = strategy.default(admitted)
        obj = strategy.prepare_create(obj)
        self._refuse(served, obj, strategy.validate(obj))
        attempt.obj = obj
        try:
            await self.admission.validate(attempt)
            if track:
                obj = management.track(None, obj, served, manager=call.field_manager, now=call.now)
            key = Key(served.storage, call.namespace, obj["metadata"]["name"])
            item = await self._write(call, key, obj, expected=None)
        finally:
            attempt.finish()
        return Result(item, created=True)

    async def update(
        self,
        call: Call,
        produce: Callable[[Object], Object],
        *,
        name: str = "",
        subresource: str = "",
        unconditional: bool = True,
        track: bool = True,
        create: Callable[[], Object] | None = None,
    ) -> Result:
        """Replace an object by what ``produce`` makes of it (in the version of the call's resource).

        ``create`` makes the object when there is none (apply); without it that is 404. ``track`` is off when
        ``produce`` has kept the managed fields itself. Raises 409 when the new object names another version
        than the stored one.
        """
        served = call.served
        name = name or call.info.name
        key = Key(served.storage, call.namespace, name)
        for _ in range(_ATTEMPTS):
            item = self.storage.get(*key)
            if item is None:
                if create is None:
                    raise call.not_found(name)
                info = call.info
                self.authorizer.require(
                    call.user, Attributes("create", info.group, info.resource, "", info.namespace, name)
                )
                try:
                    return await self.create(call, create(), track=track)
                except StatusError as error:
                    if error.reason == "AlreadyExists":
                        continue
                    raise
            old = await in_version(served, item.decode(), served.kind.api_version)
            new = produce(old)
            given = new["metadata"].get("resourceVersion")
            if given and given != old["metadata"]["resourceVersion"]:
                raise call.stale(name)
            if not given and not unconditional:
                missing = fielderrors.invalid(
                    "metadata.resourceVersion", 0, "must be specified for an update"
                )
                raise StatusError.invalid(served.kind.kind, name, [missing], group=served.group)
            try:
                return await self._update(call, key, item, old, new, subresource=subresource, track=track)
            except Stale as stale:
                # Naming the version of what was just read is what a patch does that leaves it alone.
                if stale.current is None and create is None:
                    raise call.not_found(name) from stale
        raise call.stale(name)

    async def _update(
        self, call: Call, key: Key, item: Item, old: Object, new: Object, *, subresource: str, track: bool
    ) -> Result:
        served, strategy = call.served, call.served.strategy
        self._same_object(call, key.name, new, old)
        new = objects.begin_update(new, old)
        status = subresource == "status"
        prepare, validate = strategy.prepare_update, strategy.validate_update
        if subresource:
            prepare = partial(strategy.prepare_subresource, subresource)
            validate = partial(strategy.validate_subresource, subresource)
        new = prepare(strategy.default(new), old)
        attempt = Attempt(
            UPDATE,
            served,
            call.user,
            call.namespace,
            key.name,
            new,
            old,
            subresource=subresource,
            dry_run=call.dry_run,
            options=self._options(call, "UpdateOptions"),
            warnings=call.warnings,
        )
        admitted = await self.admission.mutate(attempt, new)
        if admitted is not new:
            new = prepare(objects.begin_update(strategy.default(admitted), old), old)
        metadata = {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
        new = {**new, "metadata": metadata}
        self._refuse(served, new, validate(new, old))
        attempt.obj = new
        try:
            await self.admission.validate(attempt)
            if served.counts_generation and not status and "spec" in new and _spec_differs(new, old):
                metadata["generation"] = old["metadata"].get("generation", 0) + 1
            if track:
                new = management.track(
                    old, new, served, manager=call.field_manager, now=call.now, subresource=subresource
                )
            if deletion.is_finished(served, new):
                deleted = await self._write(call, key, new, expected=item, delete=True)
                return Result(deleted, deleted=True)
            if new == old and item.api_version == served.stored_as:
                return Result(item)
            return Result(await self._write(call, key, new, expected=item))
        finally:
            attempt.finish()

    async def change(self, call: Call, produce: Callable[[Object], Object], *, name: str = "") -> Result:
        """Store what ``produce`` makes of an object, as the server's own act: no admission, no validation."""
        served = call.served
        key = Key(served.storage, call.namespace, name or call.info.name)
        for _ in range(_ATTEMPTS):
            item = self.storage.get(*key)
            if item is None:
                raise call.not_found(key.name)
            old = await in_version(served, item.decode(), served.kind.api_version)
            new = produce(old)
            try:
                if new == old:
                    return Result(item)
                finished = deletion.is_finished(served, new)
                written = await self._write(call, key, new, expected=item, delete=finished)
                return Result(written, deleted=finished)
            except Stale:
                continue
        raise call.stale(key.name)

    async def delete(self, call: Call, options: DeleteOptions, *, name: str = "") -> Result:
        """Delete an object, or mark it as being deleted while its finalizers or its grace period keep it."""
        served = call.served
        name = name or call.info.name
        key = Key(served.storage, call.namespace, name)
        for _ in range(_ATTEMPTS):
            item = self.storage.get(*key)
            if item is None:
                raise call.not_found(name)
            old = await in_version(served, item.decode(), served.kind.api_version)
            options.check_preconditions(served, old)
            attempt = Attempt(
                DELETE,
                served,
                call.user,
                call.namespace,
                name,
                None,
                old,
                dry_run=options.dry_run,
                options=options.to_dict(),
                warnings=call.warnings,
            )
            await self.admission.mutate(attempt, old)
            await self.admission.validate(attempt)
            step = deletion.plan(served, old, options, now=call.now)
            if step.obj is None:
                return Result(item)
            try:
                written = await self._write(
                    call, key, step.obj, expected=item, delete=step.remove, dry_run=options.dry_run
                )
            except Stale as stale:
                if options.resource_version:
                    raise call.stale(name) from stale
                continue
            return Result(written, deleted=step.remove)
        raise call.stale(name)

    async def remove(self, served: Served, item: Item, options: DeleteOptions, *, now: datetime) -> None:
        """Delete an object as the server's own act: no admission. Raises :class:`~.storage.Stale`."""
        step = deletion.plan(served, item.decode(), options, now=now)
        if step.obj is not None:
            key = Key(served.storage, item.namespace, item.name)
            await self.storage.write(
                key, step.obj, expected=item, fields=served.strategy.fields(step.obj), delete=step.remove
            )

    async def _write(
        self,
        call: Call,
        key: Key,
        obj: Object,
        *,
        expected: Item | None,
        delete: bool = False,
        dry_run: bool | None = None,
    ) -> Item:
        served = call.served
        stored = await in_version(served, obj, served.stored_as)
        home = self.catalog.stored(served.storage) or served
        fields = home.strategy.fields(stored)
        if call.dry_run if dry_run is None else dry_run:
            current = self.storage.get(*key)
            if current is not expected:
                raise Stale(key, current)
            return Storage.preview(key, stored, fields=fields)
        return await self.storage.write(key, stored, expected=expected, fields=fields, delete=delete)

    def _in_namespace(self, call: Call, obj: Object) -> Object:
        """Return the object with the namespace of the path. Raises 400 when it names another one."""
        metadata = obj["metadata"]
        given = metadata.get("namespace", "")
        if not call.served.kind.namespaced:
            if given:
                # Upstream clears it silently where the kind has no namespaces.
                metadata = {key: value for key, value in metadata.items() if key != "namespace"}
                return {**obj, "metadata": metadata}
            return obj
        if not call.namespace:
            raise StatusError.bad_request("an empty namespace may not be set during creation")
        if given and given != call.namespace:
            raise StatusError.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        return obj if given else {**obj, "metadata": {**metadata, "namespace": call.namespace}}

    def _same_object(self, call: Call, name: str, new: Object, old: Object) -> None:
        metadata = new["metadata"]
        if not metadata.get("name"):
            raise StatusError.bad_request("name must be provided")
        if metadata["name"] != name:
            raise StatusError.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        namespace = metadata.get("namespace", "")
        if call.served.kind.namespaced:
            if namespace and namespace != call.namespace:
                raise StatusError.bad_request(
                    f"the namespace of the object ({namespace}) does not match the namespace on the URL "
                    f"({call.namespace})"
                )
            metadata["namespace"] = call.namespace
        else:
            metadata.pop("namespace", None)
        uid = metadata.get("uid")
        if uid and uid != old["metadata"]["uid"]:
            if call.request.method == "PATCH":  # only a whole object's uid is a precondition
                error = fielderrors.invalid("metadata.uid", uid, "field is immutable")
                raise StatusError.invalid(call.served.kind.kind, name, [error], group=call.served.group)
            raise StatusError.conflict(
                call.served.plural,
                call.served.group,
                name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}",
            )

    def _refuse(self, served: Served, obj: Object, errors: Sequence[FieldError]) -> None:
        if not errors:
            return
        distinct = list(dict.fromkeys((str(error), error.kind) for error in errors))
        chosen = {(str(error), error.kind): error for error in reversed(errors)}
        metadata = obj["metadata"]
        raise StatusError.invalid(
            served.kind.kind,
            metadata.get("name") or metadata.get("generateName") or "",
            [chosen[key] for key in distinct],
            group=served.group,
        )

    def _options(self, call: Call, kind: str) -> Object:
        options: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if call.dry_run:
            options["dryRun"] = ["All"]
        if manager := call.request.param("fieldManager"):
            options["fieldManager"] = manager
        if validation := call.request.param("fieldValidation"):
            options["fieldValidation"] = validation
        return options


def _spec_differs(new: Object, old: Object) -> bool:
    outside = ("metadata", "status", "apiVersion", "kind")
    return {key: value for key, value in new.items() if key not in outside} != {
        key: value for key, value in old.items() if key not in outside
    }
