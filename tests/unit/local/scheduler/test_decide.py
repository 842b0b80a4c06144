from typing import Any

import pytest

from hortator.local.scheduler.cluster import Cluster
from hortator.local.scheduler.decide import decide
from support.placement import cluster, info, node, pod

NO_HELP = "preemption: 0/{0} nodes are available: {0} Preemption is not helpful for scheduling."
NO_VICTIM = "preemption: 0/{0} nodes are available: {0} No preemption victims found for incoming pod."
ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def node_affinity(*expressions: dict[str, Any], fields: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    term = {"matchExpressions": list(expressions), "matchFields": list(fields)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def near(labels: dict[str, str], key: str = ZONE, **more: Any) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key, **more}


def required(kind: str, *terms: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def preferred(kind: str, *terms: dict[str, Any]) -> dict[str, Any]:
    weighted = [{"weight": 100, "podAffinityTerm": term} for term in terms]
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}


def test_without_nodes_there_is_no_place() -> None:
    assert decide(Cluster(), info()).message == "no nodes available to schedule pods"


def test_reasons_are_counted_and_sorted_as_upstream_prints_them() -> None:
    there = cluster(
        node("a", cpu="1", memory="1Gi"),
        node("b", cpu="2"),
        node("c", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
        node("d", taints=[{"key": "k", "value": "v", "effect": "NoExecute"}]),
        node("e", unschedulable=True),
    )
    assert decide(there, info(cpu="3", memory="2Gi")).message == (
        "0/5 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu, "
        "2 node(s) had untolerated taint {k: v}. " + NO_HELP.format(5)
    )


def test_room_that_is_taken_by_equals_cannot_be_made() -> None:
    there = cluster(node("a", cpu="2"), pod(cpu="1500m", on="a"))
    assert decide(there, info(cpu="1")).message == (
        "0/1 nodes are available: 1 Insufficient cpu. " + NO_VICTIM.format(1)
    )


def test_a_pod_that_never_preempts_says_so() -> None:
    there = cluster(node("a", cpu="2"), pod(cpu="2", on="a"))
    assert decide(there, info(cpu="1", priority=5, preemptionPolicy="Never")).message == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    )


def test_what_holds_the_pod_itself_replaces_the_reasons_of_nodes() -> None:
    decision = decide(cluster(node("a")), info(), blocked='persistentvolumeclaim "data" not found')
    assert decision.message == (
        '0/1 nodes are available: persistentvolumeclaim "data" not found. ' + NO_HELP.format(1)
    )


GOOD, BAD = "good", "bad"


@pytest.mark.parametrize(
    ("good", "bad", "wish", "reason"),
    [
        ({}, {"cpu": "1"}, {"cpu": "2"}, "Insufficient cpu"),
        ({}, {"pods": 0}, {}, "Too many pods"),
        (
            {"nvidia_com__gpu": "1"},
            {},
            {"requests": {"nvidia.com/gpu": "1"}},
            "Insufficient nvidia.com/gpu",
        ),
        (
            {"labels": {"disk": "ssd"}},
            {},
            {"nodeSelector": {"disk": "ssd"}},
            "node(s) didn't match Pod's node affinity/selector",
        ),
        (
            {"labels": {"cores": "64"}},
            {"labels": {"cores": "8"}},
            {"affinity": node_affinity(expression("cores", "Gt", "32"))},
            "node(s) didn't match Pod's node affinity/selector",
        ),
        (
            {},
            {"labels": {"slow": ""}},
            {"affinity": node_affinity(expression("slow", "DoesNotExist"))},
            "node(s) didn't match Pod's node affinity/selector",
        ),
        (
            {},
            {},
            {"affinity": node_affinity(fields=(expression("metadata.name", "In", GOOD),))},
            "node(s) didn't match Pod's node affinity/selector",
        ),
        ({}, {"unschedulable": True}, {}, "node(s) were unschedulable"),
        (
            {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
            {"taints": [{"key": "other", "value": "", "effect": "NoSchedule"}]},
            {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes"}]},
            "node(s) had untolerated taint {other: }",
        ),
    ],
)
def test_a_filter_leaves_the_node_that_does(
    good: dict[str, Any], bad: dict[str, Any], wish: dict[str, Any], reason: str
) -> None:
    there = cluster(node(BAD, **bad), node(GOOD, **good))
    assert decide(there, info(**wish)).node == GOOD
    there.drop_node(GOOD)
    assert decide(there, info(**wish)).message.startswith(f"0/1 nodes are available: 1 {reason}.")


def test_everything_can_be_tolerated() -> None:
    there = cluster(node("a", unschedulable=True, taints=[{"key": "x", "value": "", "effect": "NoExecute"}]))
    assert decide(there, info(tolerations=[{"operator": "Exists"}])).node == "a"


@pytest.mark.parametrize(
    ("mine", "theirs", "fits"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, False),
        ({"hostPort": 80, "protocol": "UDP"}, {"hostPort": 80}, True),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80, "hostIP": "127.0.0.2"}, True),
        ({"hostPort": 80, "hostIP": "127.0.0.1"}, {"hostPort": 80}, False),
        ({"containerPort": 80}, {"containerPort": 80}, False),
        ({"containerPort": 80}, {"containerPort": 81}, True),
    ],
)
def test_ports_of_one_machine_are_taken_once(
    mine: dict[str, Any], theirs: dict[str, Any], fits: bool
) -> None:
    there = cluster(
        node("a", machine="m"),
        node("b", machine="m"),
        pod(on="a", containers=[{"name": "c", "ports": [theirs]}]),
    )
    decision = decide(there, info(containers=[{"name": "c", "ports": [mine]}]))
    assert bool(decision.node) is fits
    if not fits:
        assert "2 node(s) didn't have free ports for the requested pod ports" in decision.message


@pytest.mark.parametrize(
    ("port", "fits"), [({"containerPort": 22}, True), ({"containerPort": 22, "hostPort": 22}, False)]
)
def test_pods_of_one_controller_may_declare_the_same_port(port: dict[str, int], fits: bool) -> None:
    containers = [{"name": "c", "ports": [port]}]
    there = cluster(node("a"), pod(on="a", owner="job", containers=containers))
    assert bool(decide(there, info(owner="job", containers=containers)).node) is fits


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        (required("podAffinity", near({"app": "db"})), {"a1", "a2"}),
        (required("podAntiAffinity", near({"app": "db"})), {"b1"}),
        (required("podAntiAffinity", near({"app": "db"}, HOST)), {"a2", "b1"}),
        (required("podAffinity", near({"app": "db"}, namespaces=["elsewhere"])), set()),
        (
            required("podAffinity", near({"app": "db"}, namespaceSelector={"matchLabels": {"team": "x"}})),
            {"a1", "a2"},
        ),
    ],
)
def test_pods_seek_and_avoid_each_other(affinity: dict[str, Any], expected: set[str]) -> None:
    found = set()
    for only in ("a1", "a2", "b1"):
        there = cluster(
            *(node(name, labels={ZONE: name[0]}, unschedulable=name != only) for name in ("a1", "a2", "b1")),
            pod(on="a1", labels={"app": "db"}),
        )
        there.namespaces["default"] = {"team": "x"}
        if decide(there, info(affinity=affinity)).node:
            found.add(only)
    assert found == expected


def test_the_first_of_a_group_that_keeps_together_is_let_in() -> None:
    there = cluster(node("a", labels={ZONE: "z"}))
    together = required("podAffinity", near({"app": "web"}))
    assert decide(there, info(labels={"app": "web"}, affinity=together)).node == "a"
    assert decide(there, info(labels={"app": "other"}, affinity=together)).message.startswith(
        "0/1 nodes are available: 1 node(s) didn't match pod affinity rules."
    )


def test_pods_that_are_there_can_object() -> None:
    alone = required("podAntiAffinity", near({"app": "web"}))
    there = cluster(node("a", labels={ZONE: "z"}), pod(on="a", affinity=alone))
    assert decide(there, info(labels={"app": "web"})).message.startswith(
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    )


def spread(key: str = ZONE, **more: Any) -> dict[str, Any]:
    rule = {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    return {"topologySpreadConstraints": [rule | more], "labels": {"app": "web"}}


def test_spreading_keeps_zones_even() -> None:
    there = cluster(
        node("a", cpu="64", labels={ZONE: "a"}),
        node("b", cpu="1", labels={ZONE: "b"}),
        pod(on="a", labels={"app": "web"}),
    )
    assert decide(there, info(**spread())).node == "b"
    assert decide(there, info(**spread(), cpu="2")).message.startswith(
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints."
    )


def test_spreading_needs_the_label_and_enough_domains() -> None:
    there = cluster(node("a", labels={ZONE: "a"}), node("b"), pod(on="a", labels={"app": "web"}))
    assert decide(there, info(**spread(minDomains=2))).message.startswith(
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_spreading_that_is_only_wished_for_gives_way() -> None:
    there = cluster(node("a", cpu="1"), node("b", cpu="4"), pod(on="b", labels={"app": "web"}))
    wish = spread(HOST, whenUnsatisfiable="ScheduleAnyway")
    assert decide(there, info(**wish)).node == "a"
    assert decide(there, info(**wish, cpu="2")).node == "b"


def test_the_emptier_node_is_better() -> None:
    there = cluster(node("a"), node("b"), pod(cpu="1", memory="1Gi", on="a"))
    assert decide(there, info(cpu="1")).node == "b"


def test_pods_of_one_controller_spread() -> None:
    there = cluster(node("a", cpu="16", memory="32Gi"), node("b"), pod(on="a", owner="job"))
    assert decide(there, info(owner="job")).node == "b"
    assert decide(there, info(owner="other")).node == "a"


def test_a_taint_that_only_discourages_counts_in_the_choice() -> None:
    there = cluster(
        node("a", taints=[{"key": "k", "value": "", "effect": "PreferNoSchedule"}]),
        node("b"),
        pod(cpu="3", on="b"),
    )
    assert decide(there, info(cpu="1")).node == "b"


def test_preferred_affinities_count_in_the_choice() -> None:
    there = cluster(node("a"), node("b", labels={"disk": "ssd"}), pod(cpu="1", on="b"))
    preference = {"matchExpressions": [expression("disk", "In", "ssd")]}
    wish = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": preference}]
        }
    }
    assert decide(there, info(affinity=wish)).node == "b"


@pytest.mark.parametrize(("kind", "chosen"), [("podAffinity", "b"), ("podAntiAffinity", "a")])
def test_preferred_company_counts_in_the_choice(kind: str, chosen: str) -> None:
    there = cluster(node("a"), node("b"), pod(cpu="100m", on="b", labels={"app": "db"}))
    assert decide(there, info(affinity=preferred(kind, near({"app": "db"}, HOST)))).node == chosen


def test_the_fewest_and_least_important_are_preempted() -> None:
    there = cluster(
        node("a", cpu="4"),
        node("b", cpu="4"),
        pod("a1", cpu="2", on="a", priority=1),
        pod("a2", cpu="2", on="a", priority=3),
        pod("b1", cpu="2", on="b", priority=2),
        pod("b2", cpu="2", on="b", priority=2),
    )
    decision = decide(there, info(cpu="2", priority=10))
    assert (decision.nominated, [one.name for one in decision.victims]) == ("a", ["a1"])
    assert decision.message == "0/2 nodes are available: 2 Insufficient cpu."


def test_deciding_changes_nothing() -> None:
    there = cluster(node("a", cpu="4"), pod("one", cpu="4", on="a"))
    first = decide(there, info("big", cpu="2", priority=1))
    assert there.nodes["a"].requested["cpu"] == 4000
    assert decide(there, info("big", cpu="2", priority=1)) == first


def test_nobody_is_preempted_in_vain() -> None:
    there = cluster(node("a", cpu="4"), pod(cpu="3", on="a", priority=9), pod(cpu="1", on="a"))
    assert decide(there, info(cpu="2", priority=5)).message == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 Insufficient cpu."
    )


def test_room_is_kept_for_a_nominated_pod() -> None:
    there = cluster(node("a", cpu="4"), pod(cpu="2", on="a"))
    big = info("big", cpu="2", priority=10)
    there.nominate(big, "a")
    assert decide(there, info(cpu="1", priority=5)).node == ""
    assert decide(there, info(cpu="1", priority=11)).node == "a"
    assert decide(there, big).node == "a"


def test_an_assumed_pod_takes_its_room_at_once() -> None:
    there = cluster(node("a", cpu="2"))
    first = info(cpu="2")
    there.assume(first, decide(there, first).node)
    assert decide(there, info(cpu="1")).node == ""
    there.remove(first.uid)
    assert decide(there, info(cpu="1")).node == "a"


@pytest.mark.parametrize(("kind", "chosen"), [("podAffinity", "b"), ("podAntiAffinity", "a")])
def test_the_company_that_pods_prefer_counts_for_newcomers(kind: str, chosen: str) -> None:
    wish = preferred(kind, near({"app": "web"}, HOST))
    there = cluster(node("a"), node("b"), pod(cpu="100m", on="b", affinity=wish))
    assert decide(there, info(labels={"app": "web"})).node == chosen


def test_a_node_is_tried_by_the_labels_that_it_has_now() -> None:
    there = cluster(node("a"))
    wish = info(nodeSelector={"disk": "ssd"})
    assert not decide(there, wish).node
    there.set_node(node("a", labels={"disk": "ssd"}))
    assert decide(there, wish).node == "a"


def test_label_keys_narrow_a_spread_to_one_revision() -> None:
    there = cluster(
        node("a"),
        node("b"),
        pod(on="a", labels={"app": "web", "rev": "1"}),
        pod(on="a", labels={"app": "web", "rev": "1"}),
        pod(on="b", labels={"app": "web", "rev": "2"}),
    )
    rule = spread(HOST, matchLabelKeys=["rev"])["topologySpreadConstraints"]
    assert decide(there, info(labels={"app": "web", "rev": "2"}, topologySpreadConstraints=rule)).node == "a"
