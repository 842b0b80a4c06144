"""What kubectl writes: apply in both ways, create from its own generators, edit, patch, label, scale, delete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.kubectl import Kubectl, lines, shell_pod

Object = dict[str, Any]


def config(name: str = "c", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def job(name: str, script: str = "exit 0", **spec: Any) -> Object:
    template = {"spec": {**shell_pod("x", script)["spec"], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def data_of(kubectl: Kubectl, name: str = "c") -> Any:
    return kubectl.json("get", "configmap", name).get("data")


def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=config(a="1", b="2")) == "configmap/c created\n"
    assert kubectl("apply", "-f", "-", stdin=config(a="1", b="2")) == "configmap/c unchanged\n"
    kubectl("patch", "configmap", "c", "--type=merge", "-p", '{"data":{"theirs":"x"}}')
    assert kubectl("apply", "-f", "-", stdin=config(a="3")) == "configmap/c configured\n"
    assert data_of(kubectl) == {"a": "3", "theirs": "x"}  # b was ours and is gone; theirs never was


def test_apply_merges_lists_of_containers_by_name(kubectl: Kubectl) -> None:
    made = job("j", suspend=True)
    kubectl("apply", "-f", "-", stdin=made)
    made["metadata"]["labels"] = {"new": "label"}
    made["spec"]["suspend"] = True
    assert kubectl("apply", "-f", "-", stdin=made) == "job.batch/j configured\n"
    assert kubectl.json("get", "job", "j")["metadata"]["labels"]["new"] == "label"


def test_server_side_apply_owns_fields_and_refuses_to_take_others(kubectl: Kubectl) -> None:
    words = ("apply", "--server-side", "-f", "-")
    assert (
        kubectl(*words, "--field-manager=one", stdin=config(a="1", b="1"))
        == "configmap/c serverside-applied\n"
    )
    assert (
        kubectl(*words, "--field-manager=one", stdin=config(a="1", b="1"))
        == "configmap/c serverside-applied\n"
    )
    refusal = kubectl.refused(*words, "--field-manager=two", stdin=config(a="2"))
    assert 'conflict with "one": .data.a' in refusal and "--force-conflicts" in refusal
    kubectl(*words, "--field-manager=two", "--force-conflicts", stdin=config(a="2"))
    kubectl(*words, "--field-manager=one", stdin=config(b="1"))
    assert data_of(kubectl) == {"a": "2", "b": "1"}
    owners = kubectl.json("get", "configmap", "c", "--show-managed-fields")["metadata"]["managedFields"]
    assert {(entry["manager"], entry["operation"]) for entry in owners} == {
        ("one", "Apply"),
        ("two", "Apply"),
    }
    kubectl(*words, "--field-manager=two", stdin=config())
    assert data_of(kubectl) == {"b": "1"}


def test_apply_takes_a_folder_and_prunes(kubectl: Kubectl, tmp_path: Path) -> None:
    for name in ("first", "second"):
        made = config(name, a="1")
        made["metadata"]["labels"] = {"set": "one"}
        (tmp_path / f"{name}.json").write_text(json.dumps(made))
    prune = ("--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap")
    kubectl("apply", "-f", str(tmp_path), *prune)
    (tmp_path / "first.json").unlink()
    assert "configmap/first pruned" in kubectl("apply", "-f", str(tmp_path), *prune)
    assert lines(kubectl("get", "cm", "-l", "set=one"))[0][0] == "second"


def test_dry_run_and_diff_change_nothing(kubectl: Kubectl) -> None:
    shown = kubectl("apply", "--dry-run=server", "-o", "name", "-f", "-", stdin=config(a="1"))
    assert shown == "configmap/c\n"
    assert "not found" in kubectl.refused("get", "cm", "c")
    kubectl("apply", "-f", "-", stdin=config(a="1"))
    different = kubectl.run("diff", "-f", "-", stdin=config(a="2"))
    assert different.returncode == 1, different
    assert b'-  a: "1"' in different.stdout and b'+  a: "2"' in different.stdout
    assert kubectl.run("diff", "-f", "-", stdin=config(a="1")).returncode == 0
    assert data_of(kubectl) == {"a": "1"}


CREATED: dict[str, tuple[list[str], str, Callable[[Object], object], object]] = {
    "configmap": (
        ["configmap", "made", "--from-literal=a=1"],
        "configmap/made",
        lambda obj: obj["data"],
        {"a": "1"},
    ),
    "secret": (
        ["secret", "generic", "made", "--from-literal=a=1"],
        "secret/made",
        lambda obj: (obj["type"], obj["data"]),
        ("Opaque", {"a": "MQ=="}),
    ),
    "job": (
        ["job", "made", "--image=none", "--", "true"],
        "job/made",
        lambda obj: obj["spec"]["template"]["spec"]["containers"][0]["command"],
        ["true"],
    ),
    "role": (
        ["role", "made", "--verb=get,list", "--resource=pods,jobs.batch"],
        "role/made",
        lambda obj: [sorted(rule["resources"]) for rule in obj["rules"]],
        [["pods"], ["jobs"]],
    ),
    "rolebinding": (
        ["rolebinding", "made", "--clusterrole=view", "--serviceaccount=default:default"],
        "rolebinding/made",
        lambda obj: (obj["roleRef"]["name"], obj["subjects"][0]["kind"]),
        ("view", "ServiceAccount"),
    ),
    "serviceaccount": (
        ["serviceaccount", "made"],
        "serviceaccount/made",
        lambda obj: obj["metadata"]["name"],
        "made",
    ),
    "service": (
        ["service", "clusterip", "made", "--tcp=80:8080"],
        "service/made",
        lambda obj: [(port["port"], port["targetPort"], port["protocol"]) for port in obj["spec"]["ports"]],
        [(80, 8080, "TCP")],
    ),
    "quota": (
        ["quota", "made", "--hard=pods=3"],
        "quota/made",
        lambda obj: obj["spec"]["hard"],
        {"pods": "3"},
    ),
    "priorityclass": (
        ["priorityclass", "made", "--value=5"],
        "priorityclass/made",
        lambda obj: obj["value"],
        5,
    ),
    "cronjob": (
        ["cronjob", "made", "--image=none", "--schedule=0 0 1 1 *", "--", "true"],
        "cronjob/made",
        lambda obj: obj["spec"]["schedule"],
        "0 0 1 1 *",
    ),
}


@pytest.mark.parametrize("case", CREATED)
def test_create_sends_what_the_server_understands(kubectl: Kubectl, case: str) -> None:
    words, name, view, expected = CREATED[case]
    kubectl("create", *words)
    try:
        assert view(kubectl.json("get", name)) == expected
        assert "already exists" in kubectl.refused("create", *words)
    finally:
        kubectl("delete", name, "--wait=false")


def test_create_namespace_and_work_in_it(everywhere: Kubectl) -> None:
    assert everywhere("create", "namespace", "made-by-hand") == "namespace/made-by-hand created\n"
    everywhere.ready("namespace/made-by-hand", "jsonpath={.status.phase}=Active")
    everywhere("create", "configmap", "c", "-n", "made-by-hand")
    everywhere("delete", "namespace", "made-by-hand")
    assert "not found" in everywhere.refused("get", "configmap", "c", "-n", "made-by-hand")
    assert "not found" in everywhere.refused("create", "configmap", "c", "-n", "made-by-hand")


def test_edit_changes_what_the_editor_changed(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.apply(config(color="red"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/red/green/ "$1"\n')
    editor.chmod(0o755)
    assert kubectl.with_env(KUBE_EDITOR=str(editor))("edit", "cm", "c") == "configmap/c edited\n"
    assert data_of(kubectl) == {"color": "green"}
    assert "no changes" in kubectl.with_env(KUBE_EDITOR="true").run("edit", "cm", "c").stderr.decode()
    # Refused, it is opened again with the reason on top; left as it is, nothing is saved.
    editor.write_text('#!/bin/sh\ngrep -q "is invalid" "$1" || sed -i "s/color:/col or:/" "$1"\n')
    assert "no valid changes were saved" in kubectl.with_env(KUBE_EDITOR=str(editor)).refused(
        "edit", "cm", "c"
    )
    assert data_of(kubectl) == {"color": "green"}


@pytest.mark.parametrize(
    ("kind", "patch", "image"),
    [
        ("strategic", {"spec": {"containers": [{"name": "main", "image": "new"}]}}, "new"),
        ("json", [{"op": "replace", "path": "/spec/containers/0/image", "value": "newer"}], "newer"),
        ("merge", {"metadata": {"labels": {"a": "b"}}}, "none"),
    ],
)
def test_patches_of_every_kind(kubectl: Kubectl, kind: str, patch: Any, image: str) -> None:
    kubectl.apply(shell_pod("p", "exec sleep 600"))
    assert kubectl("patch", "pod", "p", f"--type={kind}", "-p", json.dumps(patch)) == "pod/p patched\n"
    after = kubectl.json("get", "pod", "p")
    assert [container["image"] for container in after["spec"]["containers"]] == [image]
    assert after["spec"]["containers"][0]["command"][0] == "/bin/sh"
    no_change = kubectl("patch", "pod", "p", f"--type={kind}", "-p", json.dumps(patch))
    assert no_change == "pod/p patched (no change)\n"


@pytest.mark.parametrize(
    ("kind", "patch", "why"),
    [
        ("json", '[{"op":"test","path":"/data/a","value":"2"}]', "testing value /data/a failed"),
        ("json", '[{"op":"remove","path":"/data/none"}]', "/data/none"),
        ("json", '[{"op":"jump","path":"/data/a"}]', "jump"),
        ("merge", '{"data":{"bad key":"x"}}', "data[bad key]: Invalid value"),
        (
            "strategic",
            '{"data":{"a":{"b":"c"}}}',
            "cannot unmarshal object into Go struct field ConfigMap.data",
        ),
        ("merge", '{"metadata":{"name":"other"}}', "(other) does not match the name on the URL (c)"),
        ("merge", '{"kind":"Secret"}', "kind"),
    ],
)
def test_patches_that_cannot_be(kubectl: Kubectl, kind: str, patch: str, why: str) -> None:
    kubectl.apply(config(a="1"))
    assert why in kubectl.refused("patch", "cm", "c", f"--type={kind}", "-p", patch)
    assert data_of(kubectl) == {"a": "1"}


def test_label_and_annotate(kubectl: Kubectl) -> None:
    kubectl.apply(config())
    kubectl("label", "cm", "c", "tier=front", "app=x")
    kubectl("annotate", "cm", "c", "note=hello there")
    assert "--overwrite is false" in kubectl.refused("label", "cm", "c", "tier=back")
    kubectl("label", "cm", "c", "tier=back", "app-", "--overwrite")
    metadata = kubectl.json("get", "cm", "c")["metadata"]
    assert metadata["labels"] == {"tier": "back"} and metadata["annotations"]["note"] == "hello there"
    kubectl("label", "cm", "--all", "everyone=yes")
    assert kubectl.json("get", "cm", "kube-root-ca.crt")["metadata"]["labels"] == {"everyone": "yes"}
    assert "a valid label" in kubectl.refused("label", "cm", "c", "x=not/allowed")


def test_replace_needs_the_version_it_read(kubectl: Kubectl) -> None:
    kubectl.apply(config(a="1"))
    old = kubectl.json("get", "cm", "c")
    assert kubectl("replace", "-f", "-", stdin=config(a="2")) == "configmap/c replaced\n"
    old["data"] = {"a": "3"}
    assert "the object has been modified" in kubectl.refused("replace", "-f", "-", stdin=old)
    kubectl("replace", "--force", "-f", "-", stdin=config(b="4"))
    assert data_of(kubectl) == {"b": "4"}
    assert "not found" in kubectl.refused("replace", "-f", "-", stdin=config("none"))


def owned(kubectl: Kubectl) -> list[str]:
    return kubectl("get", "pods", "-l", "job-name=j", "-o", "name").split()


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_takes_dependents_or_leaves_them(kubectl: Kubectl, cascade: str) -> None:
    kubectl.apply(job("j", "exec sleep 600"))
    kubectl.ready("job/j", "jsonpath={.status.ready}=1")
    (pod,) = owned(kubectl)
    kubectl("delete", "job", "j", f"--cascade={cascade}")
    assert "not found" in kubectl.refused("get", "job", "j")
    if cascade == "orphan":
        assert "ownerReferences" not in kubectl.json("get", pod)["metadata"]
        return
    if cascade == "background":
        kubectl("wait", "--for=delete", pod, "--timeout=50s")
    assert owned(kubectl) == []


def test_delete_by_selector_by_force_and_of_nothing(kubectl: Kubectl) -> None:
    kubectl.apply(
        shell_pod("a", "trap '' TERM; while :; do sleep 1; done", labels={"x": "y"}),
        shell_pod("b", "exec sleep 600", labels={"x": "y"}),
        config(),
    )
    kubectl.ready("pod/a")
    kubectl("delete", "pod", "a", "--force", "--grace-period=0")
    assert "not found" in kubectl.refused("get", "pod", "a")
    assert 'pod "b" deleted' in kubectl("delete", "pods", "-l", "x=y", "--now")
    assert kubectl("delete", "cm", "none", "--ignore-not-found") == ""
    assert "not found" in kubectl.refused("delete", "cm", "none")
    kubectl("delete", "cm", "--all")
    assert "not found" in kubectl.refused("get", "cm", "c")


def test_finalizers_hold_an_object(kubectl: Kubectl) -> None:
    made = config()
    made["metadata"]["finalizers"] = ["example.com/hold"]
    kubectl("apply", "-f", "-", stdin=made)
    kubectl("delete", "cm", "c", "--wait=false")
    assert kubectl.json("get", "cm", "c")["metadata"]["deletionTimestamp"]
    kubectl("patch", "cm", "c", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    kubectl("wait", "--for=delete", "cm/c", "--timeout=30s")


def test_wait_for_conditions_values_and_its_own_limit(kubectl: Kubectl) -> None:
    kubectl.apply(job("j"), job("never", suspend=True))
    assert (
        kubectl("wait", "--for=condition=complete", "job/j", "--timeout=50s") == "job.batch/j condition met\n"
    )
    kubectl("wait", "--for=jsonpath={.status.succeeded}=1", "job/j", "--timeout=50s")
    assert "timed out" in kubectl.refused("wait", "--for=condition=complete", "job/never", "--timeout=1s")


def test_a_suspended_job_is_resumed_by_a_patch(kubectl: Kubectl) -> None:
    kubectl.apply(job("j", suspend=True))
    kubectl.ready("job/j", "condition=Suspended")
    kubectl("patch", "job", "j", "-p", '{"spec":{"suspend":false}}')
    kubectl.ready("job/j", "condition=Complete")
    assert lines(kubectl("get", "job", "j"))[0][1:3] == ["Complete", "1/1"]


def deployment(name: str, replicas: int) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "m", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def test_scale_changes_the_number_and_checks_the_present_one(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("d", 0))
    assert kubectl("scale", "deployment/d", "--replicas=2") == "deployment.apps/d scaled\n"
    assert kubectl.json("get", "deployment", "d")["spec"]["replicas"] == 2
    assert "Expected replicas to be 7, was 2" in kubectl.refused(
        "scale", "deployment/d", "--current-replicas=7", "--replicas=1"
    )


def test_set_and_rollout_of_templates(kubectl: Kubectl) -> None:
    kubectl.apply(deployment("d", 0))
    kubectl("set", "image", "deployment/d", "m=other")
    kubectl("set", "env", "deployment/d", "COLOR=red")
    kubectl("rollout", "restart", "deployment/d")
    template = kubectl.json("get", "deployment", "d")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "other"
    assert template["spec"]["containers"][0]["env"] == [{"name": "COLOR", "value": "red"}]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
