"""What kubectl reads: lists in every form, selectors, watches, descriptions, the API's own documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from support.kubectl import Kubectl, lines, shell_pod

Object = dict[str, Any]


def config(name: str, labels: Object | None = None, **data: str) -> Object:
    metadata = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_pods_are_listed_as_tables(kubectl: Kubectl) -> None:
    kubectl.apply(shell_pod("one", "exec sleep 600", labels={"app": "a"}), shell_pod("two", "exit 3"))
    kubectl.ready("pod/one")
    kubectl.ready("pod/two", "jsonpath={.status.phase}=Failed")
    rows = {row[0]: row for row in lines(kubectl("get", "pods"))}
    assert rows["one"][1:4] == ["1/1", "Running", "0"] and rows["two"][1:4] == ["0/1", "Error", "0"]
    wide = kubectl("get", "pods", "-o", "wide", "--show-labels")
    header = lines(wide, header=True)[0]
    assert header[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"] and header[-1] == "LABELS"
    assert "NODE" in header and "app=a" in wide and " local " in wide
    assert lines(kubectl("get", "pods", "-L", "app", "--no-headers"), header=True)[0][-1] == "a"


def test_one_object_in_every_format(kubectl: Kubectl) -> None:
    kubectl.apply(config("settings", color="red", size="007"))
    assert kubectl.json("get", "configmap", "settings")["data"] == {"color": "red", "size": "007"}
    assert yaml.safe_load(kubectl("get", "cm/settings", "-o", "yaml"))["data"]["size"] == "007"
    assert kubectl("get", "cm", "settings", "-o", "name") == "configmap/settings\n"
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.color}") == "red"
    assert kubectl("get", "cm", "settings", "-o", "go-template={{.data.size}}") == "007"
    assert lines(kubectl("get", "cm", "settings", "-o", "custom-columns=C:.data.color")) == [["red"]]
    missing = kubectl.refused("get", "cm", "none")
    assert 'configmaps "none" not found' in missing


def test_lists_are_paged_without_gaps(kubectl: Kubectl) -> None:
    kubectl.apply(*(config(f"c{number:02}") for number in range(25)))
    named = kubectl("get", "cm", "--chunk-size=4", "-o", "name").split()
    assert [name for name in named if name.startswith("configmap/c")] == [
        f"configmap/c{n:02}" for n in range(25)
    ]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=a", ["a1", "a2"]),
        ("app=a,tier!=back", ["a1"]),
        ("app in (a,b),tier=back", ["a2", "b1"]),
        ("app", ["a1", "a2", "b1"]),
        ("!app", ["none"]),
    ],
)
def test_label_selectors_choose(kubectl: Kubectl, selector: str, expected: list[str]) -> None:
    kubectl.apply(
        config("a1", {"app": "a"}),
        config("a2", {"app": "a", "tier": "back"}),
        config("b1", {"app": "b", "tier": "back"}),
        config("none"),
    )
    shown = kubectl("get", "cm", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}").split()
    assert [name for name in shown if name != "kube-root-ca.crt"] == expected


def test_field_selectors_choose(kubectl: Kubectl) -> None:
    kubectl.apply(shell_pod("works", "exit 0"), shell_pod("fails", "exit 1"))
    kubectl.ready("pod/works", "jsonpath={.status.phase}=Succeeded")
    kubectl.ready("pod/fails", "jsonpath={.status.phase}=Failed")
    for field, expected in {
        "status.phase=Failed": ["fails"],
        "status.phase!=Failed": ["works"],
        "metadata.name=works": ["works"],
        "spec.nodeName=local,status.phase=Succeeded": ["works"],
        "spec.nodeName=other": [],
    }.items():
        named = kubectl("get", "pods", "--field-selector", field, "-o", "name").split()
        assert named == [f"pod/{name}" for name in expected], field
    assert "field label not supported: spec.image" in kubectl.refused(
        "get", "pods", "--field-selector=spec.image=x"
    )


def test_all_namespaces_are_listed_together(kubectl: Kubectl, everywhere: Kubectl) -> None:
    kubectl.apply(config("mine"))
    rows = lines(kubectl("get", "configmaps", "-A"))
    assert [kubectl.namespace, "mine"] in [row[:2] for row in rows]
    assert {"default", "kube-system"} <= {row[0] for row in rows}
    assert {"node/local"} == set(everywhere("get", "nodes", "-o", "name").split())


def test_several_kinds_at_once(kubectl: Kubectl) -> None:
    kubectl.apply(config("mine"), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}})
    named = kubectl("get", "configmaps,secrets", "-o", "name").split()
    assert {"configmap/mine", "secret/mine"} <= set(named)
    assert "No resources found" in kubectl.run("get", "all").stderr.decode()


def test_a_watch_shows_each_change_until_it_is_left(kubectl: Kubectl) -> None:
    kubectl.apply(config("seen", state="first"))
    watch = kubectl.start("get", "cm", "seen", "-w", "-o", "json", "--output-watch-events")
    try:
        assert watch.stdout is not None
        found = ""
        seen: list[tuple[str, str]] = []
        decoder = json.JSONDecoder()

        def next_event() -> tuple[str, str]:
            nonlocal found
            assert watch.stdout is not None
            while True:
                try:
                    event, end = decoder.raw_decode(found.lstrip())
                except json.JSONDecodeError:
                    line = watch.stdout.readline()
                    assert line, (watch.stderr and watch.stderr.read(), seen)
                    found += line.decode()
                    continue
                found = found.lstrip()[end:]
                return event["type"], event["object"]["data"]["state"]

        assert next_event() == ("ADDED", "first")
        kubectl("patch", "cm", "seen", "--type=merge", "-p", '{"data":{"state":"second"}}')
        assert next_event() == ("MODIFIED", "second")
        kubectl("delete", "cm", "seen")
        assert next_event() == ("DELETED", "second")
    finally:
        watch.kill()
        watch.communicate()


def test_describe_tells_state_and_events(kubectl: Kubectl) -> None:
    kubectl.apply(shell_pod("told", "exit 7"))
    kubectl.ready("pod/told", "jsonpath={.status.phase}=Failed")
    text = kubectl("describe", "pod", "told")
    assert "Exit Code:    7" in text and "Node:             local/" in text
    for reason in ("Scheduled", "Created", "Started"):
        assert reason in text, text
    assert "Allocatable:" in kubectl("describe", "node", "local")
    assert "test-" in kubectl("describe", "namespace", kubectl.namespace)


def test_events_are_listed_and_chosen(kubectl: Kubectl) -> None:
    kubectl.apply(shell_pod("noted", "exit 0"), shell_pod("other", "exit 0"))
    kubectl.ready("pod/noted", "jsonpath={.status.phase}=Succeeded")
    kubectl.ready("pod/other", "jsonpath={.status.phase}=Succeeded")
    mine = kubectl("events", "--for", "pod/noted")
    assert "Scheduled" in mine and "Started" in mine and "pod/other" not in mine
    rows = lines(
        kubectl("get", "events", "--field-selector=involvedObject.name=other", "--sort-by=.metadata.name")
    )
    assert rows and all("pod/other" in row for row in rows)


def test_the_api_describes_itself(everywhere: Kubectl) -> None:
    resources = {row[0]: row for row in lines(everywhere("api-resources", "-o", "wide"))}
    assert resources["pods"][1:5] == ["po", "v1", "true", "Pod"]
    assert (
        resources["mpijobs"][-2].startswith("create,delete") or "kubeflow.org/v2beta1" in resources["mpijobs"]
    )
    assert {"deployments", "jobs", "events", "roles"} <= resources.keys()
    assert {"v1", "batch/v1", "kubeflow.org/v2beta1"} <= set(everywhere("api-versions").split())
    only = everywhere("api-resources", "--api-group=kubeflow.org", "-o", "name").split()
    assert only == ["mpijobs.kubeflow.org"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("pod.spec.containers.resources.limits", "FIELD: limits <map[string]Quantity>"),
        ("job.spec.backoffLimit", "FIELD: backoffLimit <integer>"),
        ("mpijob.spec.slotsPerWorker", "FIELD: slotsPerWorker <integer>"),
        ("mpijob.spec.runPolicy", "cleanPodPolicy\t<string>"),
    ],
)
def test_explain_tells_of_fields(everywhere: Kubectl, path: str, words: str) -> None:
    assert words in everywhere("explain", path)


def test_explain_refuses_fields_that_are_not(everywhere: Kubectl) -> None:
    assert 'field "typo" does not exist' in everywhere.refused("explain", "pod.spec.typo")
    assert "FIELDS" in everywhere("explain", "mpijob", "--recursive")


def test_version_and_health(everywhere: Kubectl) -> None:
    assert everywhere.json("version")["serverVersion"]["major"] == "1"
    for path in ("/healthz", "/readyz", "/livez"):
        assert everywhere("get", "--raw", path) == "ok"
    assert "is running at" in everywhere("cluster-info")
