"""Make the scheme table of the local API server from the published Kubernetes API.

Usage::

    python tools/make_scheme.py --modules DIR [--output FILE]

``DIR`` is a Go module cache (``$(go env GOMODCACHE)``) that holds ``k8s.io/kubernetes``, ``k8s.io/api``,
``k8s.io/apimachinery``, ``k8s.io/apiextensions-apiserver`` and ``k8s.io/kube-aggregator`` of the versions below; ``go mod
download k8s.io/kubernetes@v1.36.3`` and so on put them there. Only facts are taken: kinds and their scope, verbs and
names (from ``api/discovery``), field names and types, list keys and merge strategies (from
``api/openapi-spec/v3``), protobuf numbers (from ``generated.proto``), and whether a Go field can tell zero
from absent (from ``types.go``). No prose.

The result is JSON under zlib:

``version``      version of the API it was made from
``kinds``        list of objects, see :func:`kind_entries`
``definitions``  name -> schema in OpenAPI v3 form, ``$ref`` holding a bare definition name
``messages``     name -> list of ``[number, JSON name, type, flags]``, see :func:`message_entries`
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KUBERNETES = "1.36.3"
LIBRARIES = "0.36.3"

# Kinds that nothing here would act on and whose silent acceptance would mislead: flow control, admission policies,
# storage internals, component status. A path that is not served answers 404, as on a
# server without them.
UNSERVED_GROUPS = {
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
}
UNSERVED_RESOURCES = {
    "componentstatuses",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
}
UNSERVED_SUBRESOURCES = {"proxy"}
# The versions of each group, the stored one first; conversion.py translates.
SERVED_VERSIONS = {"autoscaling": ("v2", "v1")}

# Bodies that are not resources of their own: options of requests, and what subresources take and give.
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
EXTRA_ROOTS = {
    f"{META}.DeleteOptions",
    f"{META}.Patch",
    f"{META}.Status",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.policy.v1.Eviction",
}

REPEATED, MAP, POINTER, KEEP, INLINE = 1, 2, 4, 8, 16
SCALARS = {"string": "s", "bytes": "y", "bool": "b", "int32": "i", "int64": "i", "double": "d"}
# Written by hand in Go, so they have no message of their own shape on the wire that differs from their JSON
# form; the decoder knows them by name.
OPAQUE_MESSAGES = {
    f"{META}.Time",
    f"{META}.MicroTime",
    f"{META}.FieldsV1",
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
}


def main() -> None:
    """Read the modules, write the table, print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--modules", required=True, type=Path, help="Go module cache")
    default = Path(__file__).parent.parent / "src/hortator/local/apiserver/scheme/table.json.zz"
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    root = arguments.modules / "k8s.io"
    kubernetes = root / f"kubernetes@v{KUBERNETES}"

    kinds = list(kind_entries(kubernetes / "api/discovery"))
    documents = {document_name(kind["group"], kind["version"]) for kind in kinds}
    published: dict[str, Any] = {}
    for document in sorted(documents):
        text = (kubernetes / f"api/openapi-spec/v3/{document}_openapi.json").read_text()
        published.update(json.loads(text)["components"]["schemas"])
    roots = set(EXTRA_ROOTS)
    for kind in kinds:
        kind["definition"] = definition_of(published, kind)
        roots.add(kind["definition"])
    definitions = reachable({name: strip(name, schema) for name, schema in published.items()}, roots)

    proto = {
        "io.k8s.api": root / f"api@v{LIBRARIES}",
        "io.k8s.apimachinery": root / f"apimachinery@v{LIBRARIES}",
        "io.k8s.apiextensions-apiserver": root / f"apiextensions-apiserver@v{LIBRARIES}",
        "io.k8s.kube-aggregator": root / f"kube-aggregator@v{LIBRARIES}",
    }
    messages = message_entries(proto, definitions, roots)
    table = {"version": KUBERNETES, "kinds": kinds, "definitions": definitions, "messages": messages}
    plain = json.dumps(table, separators=(",", ":"), sort_keys=True).encode()
    packed = zlib.compress(plain, 9)
    arguments.output.write_bytes(packed)
    print(  # noqa: T201
        f"{len(kinds)} kinds, {len(definitions)} definitions, {len(messages)} messages:"
        f" {len(plain)} bytes, {len(packed)} packed"
    )


def document_name(group: str, version: str) -> str:
    """Return the file name stem of the OpenAPI document of a group version."""
    return f"apis__{group}__{version}" if group else f"api__{version}"


# --- kinds ----------------------------------------------------------------------------------------


def kind_entries(discovery: Path) -> Iterator[dict[str, Any]]:
    """Yield the served kinds from the discovery documents, core first, then in a server's order of groups."""
    groups = [""] + [group["name"] for group in json.loads((discovery / "apis.json").read_text())["groups"]]
    for group in groups:
        if group in UNSERVED_GROUPS:
            continue
        for version in SERVED_VERSIONS.get(group, ("v1",)):
            yield from version_entries(discovery, group, version)


def version_entries(discovery: Path, group: str, version: str) -> Iterator[dict[str, Any]]:
    """Yield the served kinds of one version of a group."""
    path = discovery / (f"apis__{group}__{version}.json" if group else f"api__{version}.json")
    resources = json.loads(path.read_text())["resources"]
    for resource in resources:
        plural = resource["name"]
        if "/" in plural or plural in UNSERVED_RESOURCES:
            continue
        subresources = [
            {
                "name": sub["name"].partition("/")[2],
                "group": sub.get("group", group),
                "version": sub.get("version", version),
                "kind": sub["kind"],
                "verbs": sub["verbs"],
            }
            for sub in resources
            if sub["name"].startswith(plural + "/")
            and sub["name"].partition("/")[2] not in UNSERVED_SUBRESOURCES
        ]
        yield {
            "group": group,
            "version": version,
            "kind": resource["kind"],
            "plural": plural,
            "singular": resource["singularName"],
            "short_names": resource.get("shortNames", []),
            "categories": resource.get("categories", []),
            "namespaced": resource["namespaced"],
            "verbs": resource["verbs"],
            "subresources": subresources,
        }


def definition_of(published: dict[str, Any], kind: dict[str, Any]) -> str:
    """Return the name of the definition that is the kind itself."""
    wanted = {"group": kind["group"], "version": kind["version"], "kind": kind["kind"]}
    for name, schema in published.items():
        if schema.get("x-kubernetes-group-version-kind") == [wanted]:
            return name
    raise SystemExit(f"no definition says that it is {wanted}")


# --- definitions ----------------------------------------------------------------------------------


def strip(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a definition without prose, without Go's zero values as defaults, and with plain ``$ref``."""
    if name.endswith("resource.Quantity"):
        return {"x-kubernetes-int-or-string": True, "format": "quantity"}
    if name.endswith("intstr.IntOrString"):
        return {"x-kubernetes-int-or-string": True, "format": "int-or-string"}
    if name.endswith(("RawExtension", "FieldsV1", "meta.v1.Patch")):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if not schema.get("type"):  # JSON and the "schema or …" types of CustomResourceDefinition
        return {"x-kubernetes-preserve-unknown-fields": True}
    result = strip_node(schema)
    gvks = result.get("x-kubernetes-group-version-kind", [])
    if len(gvks) > 1:  # DeleteOptions names every group version there is
        result["x-kubernetes-group-version-kind"] = [gvk for gvk in gvks if gvk["group"] == ""]
    return result


def strip_node(node: dict[str, Any]) -> dict[str, Any]:
    """Strip one schema node and those below it."""
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key in {"description", "x-kubernetes-unions"} or (key == "default" and not value):
            continue
        if key == "allOf":
            (only,) = value
            result["$ref"] = only["$ref"].rpartition("/")[2]
        elif key == "$ref":
            result["$ref"] = value.rpartition("/")[2]
        elif key == "properties":
            result[key] = {name: strip_node(child) for name, child in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            result[key] = strip_node(value)
        else:
            result[key] = value
    return result


def references(node: Any) -> Iterator[str]:
    """Yield every definition name that a node refers to."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def reachable(definitions: dict[str, Any], roots: set[str]) -> dict[str, Any]:
    """Return the definitions that the roots need."""
    found: dict[str, Any] = {}
    waiting = sorted(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting += references(definitions[name])
    return found


# --- protobuf -------------------------------------------------------------------------------------


def message_entries(modules: dict[str, Path], definitions: dict[str, Any], roots: set[str]) -> dict[str, Any]:
    """Return the wire form of every message that the roots need.

    A field is ``[number, JSON name, type, flags]``; ``type`` is a scalar's letter (s string, y bytes, b
    bool, i integer, d double) or a message's name; the flags are 1 repeated, 2 map with string keys, 4 the
    Go field is a pointer (its zero is a value), 8 the zero is written even where Go cannot tell it from
    absent, 16 inlined in JSON.
    """
    wire: dict[str, Any] = {}
    for prefix, module in modules.items():
        for path in sorted(module.rglob("generated.proto")):
            package = prefix + "." + str(path.parent.relative_to(module)).replace("/", ".")
            if re.search(r"v\d+(alpha|beta)\d+$", package):
                continue
            tags = go_tags(path.parent)
            for name, fields in proto_messages(path.read_text()):
                full = f"{package}.{name}"
                required = set(definitions.get(full, {}).get("required", ()))
                wire[full] = [
                    wire_field(package, field, tags.get((name, field[0])), required) for field in fields
                ]
    found: dict[str, Any] = {}
    waiting = sorted(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name in OPAQUE_MESSAGES or name.endswith(".Patch"):
            continue
        found[name] = sorted(wire[name])
        waiting += [field[2] for field in wire[name] if "." in field[2]]
    return found


def proto_messages(text: str) -> Iterator[tuple[str, list[tuple[int, str, str, str]]]]:
    """Yield ``(message, [(number, label, type, name)])`` of a generated.proto file."""
    for match in re.finditer(r"^message (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        fields = []
        for line in match[2].splitlines():
            field = re.match(r"\s+(optional|repeated) (\S+) (\w+) = (\d+);", line)
            mapped = re.match(r"\s+map<string, (\S+)> (\w+) = (\d+);", line)
            if field:
                fields.append((int(field[4]), field[1], field[2], field[3]))
            elif mapped:
                fields.append((int(mapped[3]), "map", mapped[1], mapped[2]))
            elif line.strip() and not line.lstrip().startswith("//"):
                raise SystemExit(f"not understood in {match[1]}: {line}")
        yield match[1], fields


def wire_field(
    package: str,
    field: tuple[int, str, str, str],
    tag: tuple[str, str, bool, bool] | None,
    required: set[str],
) -> list[Any]:
    """Return the table's form of one field; ``tag`` is what :func:`go_tags` found about it."""
    number, label, kind, name = field
    if kind in SCALARS:
        kind = SCALARS[kind]
    elif kind.startswith("."):
        kind = kind.replace(".k8s.io.", "io.k8s.", 1).replace(
            "apiextensions_apiserver", "apiextensions-apiserver"
        )
    else:
        kind = f"{package}.{kind}"
    flags = {"repeated": REPEATED, "map": MAP}.get(label, 0)
    if tag is None:
        return [number, name, kind, flags]
    json_name, go_type, inline, omitempty = tag
    if inline:
        return [number, "", kind, flags | INLINE]
    if go_type.startswith("*"):
        flags |= POINTER
    if not omitempty or json_name in required:
        flags |= KEEP
    return [number, json_name, kind, flags]


def go_tags(folder: Path) -> dict[tuple[str, int], tuple[str, str, bool, bool]]:
    """Return ``(struct, number) -> (JSON name, Go type, inline, omitempty)`` of a package's Go files."""
    found = {}
    for path in sorted(folder.glob("*types*.go")):
        for struct in re.finditer(
            r"^type (\w+) struct \{\n(.*?)^\}", path.read_text(), re.MULTILINE | re.DOTALL
        ):
            for line in struct[2].splitlines():
                field = re.match(r"\s*(?:\w+\s+)?(\S+)\s+`json:\"([^\"]*)\".*protobuf:\"\w+,(\d+)", line)
                if field:
                    name, _, options = field[2].partition(",")
                    inline = "inline" in options.split(",")
                    found[struct[1], int(field[3])] = (name, field[1], inline, "omitempty" in options)
    return found


if __name__ == "__main__":
    main()
