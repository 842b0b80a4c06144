"""What the server refuses, and that it names the field and the reason each time; nothing of it is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.kubectl import Kubectl, shell_pod

Object = dict[str, Any]


def config(**fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, **fields}


def pod(**spec: Any) -> Object:
    return shell_pod("p", "exit 0", **spec)


def job(**spec: Any) -> Object:
    template = {"spec": {**pod()["spec"]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": template, **spec},
    }


def mpijob(name: str = "m", **spec: Any) -> Object:
    launcher = {
        "template": {"spec": {"containers": [{"name": "l", "image": "i", "command": ["mpirun", "true"]}]}}
    }
    spec = {"mpiReplicaSpecs": {"Launcher": launcher}, **spec}
    return {"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "metadata": {"name": name}, "spec": spec}


def named(name: Any) -> Object:
    return config(metadata={"name": name})


REFUSED: dict[str, tuple[Object | str, list[str]]] = {
    "unknown field": (config(dta={}), ['unknown field "dta"']),
    "unknown field deep down": (
        pod(container={"resources": {"limts": {"cpu": "1"}}}),
        ['unknown field "spec.containers[0].resources.limts"'],
    ),
    "unknown field of an MPIJob": (mpijob(slots=2), ['unknown field "spec.slots"']),
    "two unknown fields": (config(a=1, b=2), ['unknown field "a"', 'unknown field "b"']),
    "number for text": (config(data={"a": 1}), ["ConfigMap.data", "number", "string"]),
    "text for number": (job(backoffLimit="three"), ["backoffLimit", "string"]),
    "text for number in an MPIJob": (
        mpijob(slotsPerWorker="two"),
        ["spec.slotsPerWorker: Invalid value", "must be of type integer"],
    ),
    "list for map": (config(data=["a"]), ["ConfigMap.data", "array"]),
    "map for list": (pod(containers={"name": "x"}), ["containers", "object"]),
    "bad name": (named("Not_A_Name"), ['metadata.name: Invalid value: "Not_A_Name"', "RFC 1123 subdomain"]),
    "long name": (named("x" * 254), ["metadata.name: Invalid value", "253"]),
    "number for a name": (named(7), ["metadata.name", "number"]),
    "bad name of an MPIJob": (mpijob("Pi"), ["metadata.name", '"Pi"']),
    "bad label": (
        config(metadata={"name": "c", "labels": {"a b": "x"}}),
        ["metadata.labels: Invalid value", '"a b"'],
    ),
    "no containers": (pod(containers=[]), ["spec.containers: Required value"]),
    "negative number": (
        job(completions=-1),
        ["spec.completions: Invalid value: -1", "greater than or equal to 0"],
    ),
    "word that is not in the list": (
        mpijob(mpiImplementation="OpenMP"),
        ["spec.mpiImplementation: Unsupported value", '"OpenMP"', '"OpenMPI"'],
    ),
    "bad quantity": (
        pod(container={"resources": {"requests": {"cpu": "lots"}}}),
        ["quantit"],
    ),
    "request above limit": (
        pod(container={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
        ["spec.containers[0].resources.requests", "must be less than or equal to cpu limit"],
    ),
    "unknown kind": (
        {"apiVersion": "v1", "kind": "Pood", "metadata": {"name": "p"}},
        ['no matches for kind "Pood" in version "v1"'],
    ),
    "unknown group": (
        {"apiVersion": "no.example/v1", "kind": "Thing", "metadata": {"name": "t"}},
        ['no matches for kind "Thing" in version "no.example/v1"'],
    ),
    "no kind": ({"apiVersion": "v1", "metadata": {"name": "t"}}, ["kind"]),
    "not YAML": ("kind: [", ["yaml", "line"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_field_and_reason(kubectl: Kubectl, case: str) -> None:
    given, words = REFUSED[case]
    for verb in ("create", "apply"):
        said = kubectl.refused(verb, "-f", "-", stdin=given)
        assert all(word in said for word in words), (verb, said)
    left = kubectl("get", "configmaps,pods,jobs,mpijobs", "-o", "name").split()
    assert left == ["configmap/kube-root-ca.crt"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('"data": {"a": "1", "a": "2"}', 'duplicate field "data.a"'),
        ('"data": {}, "data": {}', 'duplicate field "data"'),
        ('"metadata": {"name": ""}', "name or generateName is required"),
    ],
)
def test_bodies_that_kubectl_would_have_mended(kubectl: Kubectl, body: str, why: str) -> None:
    path = f"/api/v1/namespaces/{kubectl.namespace}/configmaps?fieldValidation=Strict"
    start = "" if "metadata" in body else '"metadata": {"name": "c"}, '
    text = f'{{"apiVersion": "v1", "kind": "ConfigMap", {start}{body}}}'
    assert why in kubectl.refused("create", "--raw", path, "-f", "-", stdin=text)
    assert "not found" in kubectl.refused("get", "cm", "c")


def test_an_object_of_4_mebibytes_is_refused(kubectl: Kubectl) -> None:
    said = kubectl.refused("create", "-f", "-", stdin=config(data={"a": "x" * (4 << 20)}))
    assert "too large" in said.lower() or "413" in said, said[:500]
    said = kubectl.refused("create", "-f", "-", stdin=config(data={"a": "x" * (2 << 20)}))
    assert "Too long: may not be more than 1048576 bytes" in said, said[:500]
    assert "not found" in kubectl.refused("get", "cm", "c")


def test_unknown_fields_are_warned_of_when_asked_to(kubectl: Kubectl) -> None:
    done = kubectl.run("apply", "--validate=warn", "-f", "-", stdin=config(dta={}))
    assert done.returncode == 0 and b'Warning: unknown field "dta"' in done.stderr
    assert kubectl.run("apply", "--validate=ignore", "-f", "-", stdin=config(dta={})).stderr == b""
    assert "dta" not in kubectl.json("get", "cm", "c")


def test_immutable_fields_stay(kubectl: Kubectl) -> None:
    kubectl.apply(job(suspend=True), pod())
    said = kubectl.refused("patch", "job", "j", "-p", '{"spec":{"completionMode":"Indexed"}}')
    assert "spec.completionMode: Invalid value" in said and "field is immutable" in said
    said = kubectl.refused("patch", "pod", "p", "-p", '{"spec":{"nodeName":"elsewhere"}}')
    assert "Forbidden: pod updates may not change fields other than" in said
    said = kubectl.refused("patch", "job", "j", "-p", json.dumps({"metadata": {"uid": "x"}}))
    assert 'metadata.uid: Invalid value: "x": field is immutable' in said


def test_unknown_names_are_told(kubectl: Kubectl) -> None:
    assert 'doesn\'t have a resource type "pood"' in kubectl.refused("get", "pood")
    assert 'pods "none" not found' in kubectl.refused("delete", "pod", "none")
    assert 'namespaces "none" not found' in kubectl.refused("create", "cm", "x", "-n", "none")
    assert "found '=', expected: ','" in kubectl.refused("get", "pods", "-l", "a=b=c")
