import pytest

from hortator.local.apiserver import discovery
from hortator.local.apiserver.scheme import Kind, load_scheme

KINDS = load_scheme().kinds()


def custom(version: str) -> Kind:
    return Kind("example.com", version, "Box", "boxes", "box", short_names=("bx",))


def test_core_and_groups_are_apart_in_the_aggregated_form() -> None:
    core = discovery.aggregated(KINDS, core=True)
    assert [item["metadata"] for item in core["items"]] == [{}]
    groups = discovery.aggregated(KINDS, core=False)
    assert {"name": "batch"} in [item["metadata"] for item in groups["items"]]


def test_a_resource_of_the_aggregated_form() -> None:
    (core,) = discovery.aggregated(KINDS, core=True)["items"]
    (pods,) = [entry for entry in core["versions"][0]["resources"] if entry["resource"] == "pods"]
    assert pods["responseKind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert (pods["scope"], pods["shortNames"]) == ("Namespaced", ["po"])
    (exec_,) = [sub for sub in pods["subresources"] if sub["subresource"] == "exec"]
    assert exec_["verbs"] == ["create", "get"]


def test_plain_lists_name_subresources_and_their_foreign_kinds() -> None:
    listed = discovery.resource_list(KINDS, "apps", "v1")
    assert listed is not None
    by_name = {entry["name"]: entry for entry in listed["resources"]}
    scale = by_name["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert "group" not in by_name["deployments/status"]
    assert listed["groupVersion"] == "apps/v1"


def test_what_is_not_served_is_none() -> None:
    assert discovery.resource_list(KINDS, "apps", "v1beta1") is None
    assert discovery.group(KINDS, "nothing.example.com") is None
    assert discovery.group(KINDS, "") is None


def test_the_group_list_leaves_the_core_out() -> None:
    names = [group["name"] for group in discovery.group_list(KINDS)["groups"]]
    assert "" not in names
    assert names.count("batch") == 1


def test_preferred_versions_come_first() -> None:
    kinds = [custom(version) for version in ("v1beta1", "v2", "foo", "v1", "v1alpha1", "v1beta2")]
    group = discovery.group(kinds, "example.com")
    assert group is not None
    versions = [entry["version"] for entry in group["versions"]]
    assert versions == ["v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]
    assert group["preferredVersion"]["version"] == "v2"


@pytest.mark.parametrize("key", ["major", "minor", "gitVersion", "platform"])
def test_the_version_document_has_what_clients_read(key: str) -> None:
    version = discovery.version("1.36.3")
    assert version[key]
    assert version["gitVersion"].startswith("v1.36.3")
