"""Where a pod fits, and for every node where it does not, why: the filters of kube-scheduler, in its order
and words.

:func:`prepare` gathers once what depends on all nodes together (affinity between pods, spreading);
:func:`reasons` then answers for one node. Both only read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hortator.apimachinery.selectors import LabelSelector
from hortator.local.scheduler.cluster import Cluster, NodeInfo
from hortator.local.scheduler.pods import PodInfo
from hortator.local.scheduler.requests import Port
from hortator.local.scheduler.terms import NodeTerm, PodTerm, SpreadRule, Taint, terms_match, tolerates

__all__ = ["Cycle", "Matcher", "Reason", "Verdicts", "fits", "prepare", "reasons"]


class Reason(NamedTuple):
    """Why a node does not do. ``curable``: ending pods of lower priority could change it."""

    text: str
    curable: bool


Verdicts = Mapping[str, tuple[Reason, ...]]
Pair = tuple[str, str]

UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
UNSCHEDULABLE = (Reason("node(s) were unschedulable", curable=False),)
NODE_AFFINITY = (Reason("node(s) didn't match Pod's node affinity/selector", curable=False),)
PORTS = (Reason("node(s) didn't have free ports for the requested pod ports", curable=True),)
VOLUMES = (Reason("node(s) didn't match PersistentVolume's node affinity", curable=False),)
SPREAD = (Reason("node(s) didn't match pod topology spread constraints", curable=True),)
SPREAD_LABEL = (
    Reason("node(s) didn't match pod topology spread constraints (missing required label)", curable=False),
)
AFFINITY = (Reason("node(s) didn't match pod affinity rules", curable=False),)
ANTI_AFFINITY = (Reason("node(s) didn't match pod anti-affinity rules", curable=True),)
EXISTING_ANTI_AFFINITY = (Reason("node(s) didn't satisfy existing pods anti-affinity rules", curable=True),)
TOO_MANY_PODS = Reason("Too many pods", curable=True)
ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 compared with, nothing listens


@dataclass(slots=True)
class SpreadCount:
    """How many matching pods each value of a topology key has, and the fewest among the eligible ones."""

    rule: SpreadRule
    counts: dict[str, int]
    own: int
    fewest: int


@dataclass(slots=True)
class Cycle:
    """What one decision needs to know about the cluster as a whole."""

    pod: PodInfo
    volumes: tuple[tuple[NodeTerm, ...], ...] = ()
    attracted: dict[Pair, int] = field(default_factory=dict)
    repelled: dict[Pair, int] = field(default_factory=dict)
    repelling: dict[Pair, int] = field(default_factory=dict)
    spread: tuple[SpreadCount, ...] = ()


class Matcher:
    """Counts the pods that a selector matches. Pods share their labels, so each set of labels is matched
    once.
    """

    def __init__(self, selector: LabelSelector | None, namespace: str) -> None:
        self._selector = selector
        self._namespace = namespace
        self._known: dict[int, bool] = {}

    def count(self, node: NodeInfo) -> int:
        """Count on one node, as spread rules do: not those that are being deleted."""
        selector, namespace, known = self._selector, self._namespace, self._known
        if selector is None:
            return 0
        total = 0
        for pod in node.pods.values():
            if pod.key[0] == namespace and not pod.deleting:
                labels = pod.labels
                matches = known.get(id(labels))
                if matches is None:
                    matches = known[id(labels)] = selector.matches(labels)
                total += matches
        return total


def _eligible(pod: PodInfo, rule: SpreadRule, node: NodeInfo) -> bool:
    if rule.honor_affinity and not _node_matches(pod, node):
        return False
    return not rule.honor_taints or _untolerated(pod, node) is None


def _spread_count(
    cluster: Cluster, pod: PodInfo, rules: tuple[SpreadRule, ...], rule: SpreadRule
) -> SpreadCount:
    counts: dict[str, int] = {}
    matcher = Matcher(rule.selector, pod.namespace)
    for node in cluster.nodes.values():
        if all(one.topology_key in node.labels for one in rules) and _eligible(pod, rule, node):
            value = node.labels[rule.topology_key]
            counts[value] = counts.get(value, 0) + matcher.count(node)
    own = 1 if rule.selector is not None and rule.selector.matches(pod.labels) else 0
    fewest = min(counts.values(), default=0) if len(counts) >= rule.min_domains else 0
    return SpreadCount(rule, counts, own, fewest)


def prepare(cluster: Cluster, pod: PodInfo, volumes: tuple[tuple[NodeTerm, ...], ...] = ()) -> Cycle:
    """Gather what the filters need to know about all nodes together."""
    cycle = Cycle(pod, volumes)
    hard = tuple(rule for rule in pod.spread if rule.hard)
    if hard:
        cycle.spread = tuple(_spread_count(cluster, pod, hard, rule) for rule in hard)
    objecting: dict[int, bool] = {}
    for other in cluster.affine.values():
        for term in other.anti_affinity:
            matches = objecting.get(id(term))
            if matches is None:
                matches = objecting[id(term)] = term.matches(pod.namespace, pod.labels, cluster.namespaces)
            if matches:
                value = cluster.nodes[other.node].labels.get(term.topology_key)
                if value is not None:
                    pair = (term.topology_key, value)
                    cycle.repelling[pair] = cycle.repelling.get(pair, 0) + 1
    if pod.affinity or pod.anti_affinity:
        _count_terms(cluster, pod, cycle)
    return cycle


def _count_terms(cluster: Cluster, pod: PodInfo, cycle: Cycle) -> None:
    # Per namespace and labels: whether all affinity terms match, and which of the other terms do.
    known: dict[tuple[str, int], tuple[bool, tuple[PodTerm, ...]]] = {}
    for node in cluster.nodes.values():
        labels = node.labels
        for other in node.pods.values():
            key = (other.key[0], id(other.labels))
            found = known.get(key)
            if found is None:
                found = known[key] = (
                    bool(pod.affinity) and _matches_all(pod.affinity, other, cluster),
                    tuple(
                        term
                        for term in pod.anti_affinity
                        if term.matches(other.namespace, other.labels, cluster.namespaces)
                    ),
                )
            attracts, repels = found
            if attracts:
                _count(cycle.attracted, pod.affinity, labels)
            if repels:
                _count(cycle.repelled, repels, labels)


def _count(pairs: dict[Pair, int], terms: tuple[PodTerm, ...], labels: Mapping[str, str]) -> None:
    for term in terms:
        if (value := labels.get(term.topology_key)) is not None:
            pair = (term.topology_key, value)
            pairs[pair] = pairs.get(pair, 0) + 1


def _matches_all(terms: tuple[PodTerm, ...], pod: PodInfo, cluster: Cluster) -> bool:
    return all(term.matches(pod.namespace, pod.labels, cluster.namespaces) for term in terms)


def reasons(cluster: Cluster, cycle: Cycle, node: NodeInfo) -> tuple[Reason, ...]:
    """Return why the pod cannot go to the node; empty when it can.

    As upstream, the first filter that objects is the only one heard, and only resources give several reasons.
    """
    pod = cycle.pod
    if node.unschedulable and not tolerates(pod.tolerations, UNSCHEDULABLE_TAINT):
        return UNSCHEDULABLE
    if node.taints and (taint := _untolerated(pod, node)) is not None:
        return (Reason(f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}", curable=False),)
    if (pod.node_selector or pod.node_required is not None) and not _node_matches(pod, node):
        return NODE_AFFINITY
    if pod.ports and not _ports_free(cluster, pod, node):
        return PORTS
    if short := _short_of(pod, node):
        return short
    if cycle.volumes and not all(terms_match(one, node.labels, node.name) for one in cycle.volumes):
        return VOLUMES
    if cycle.spread and (verdict := _spread_verdict(cycle, node)):
        return verdict
    if pod.affinity and not _attracted(cluster, cycle, node):
        return AFFINITY
    if pod.anti_affinity and _touches(cycle.repelled, node):
        return ANTI_AFFINITY
    if cycle.repelling and _touches(cycle.repelling, node):
        return EXISTING_ANTI_AFFINITY
    return ()


def fits(cluster: Cluster, cycle: Cycle, node: NodeInfo) -> tuple[Reason, ...]:
    """Like :func:`reasons`, minding the room kept for nominated pods of at least the same priority.

    As upstream, the pod must fit both with those pods on the node and without them: its affinity may not rest
    on a pod that has not come yet.
    """
    pod = cycle.pod
    waiting = [
        one
        for one in cluster.nominated.get(node.name, {}).values()
        if one.uid != pod.uid and one.priority >= pod.priority
    ]
    if waiting:
        with cluster.trial(node) as trial:
            for one in waiting:
                trial.add(one)
            if verdict := reasons(cluster, _again(cluster, cycle), node):
                return verdict
    return reasons(cluster, cycle, node)


def _again(cluster: Cluster, cycle: Cycle) -> Cycle:
    pod = cycle.pod
    if pod.affinity or pod.anti_affinity or pod.spread or cluster.affine:
        return prepare(cluster, pod, cycle.volumes)
    return cycle


def _untolerated(pod: PodInfo, node: NodeInfo) -> Taint | None:
    return next((taint for taint in node.taints if not tolerates(pod.tolerations, taint)), None)


def _node_matches(pod: PodInfo, node: NodeInfo) -> bool:
    labels = node.labels
    if any(labels.get(key) != value for key, value in pod.node_selector):
        return False
    return terms_match(pod.node_required, labels, node.name)


def _ports_free(cluster: Cluster, pod: PodInfo, node: NodeInfo) -> bool:
    """Tell whether no pod on the node's machine occupies a port of the pod.

    Ports that are only declared do not keep pods of one controller apart: every pod has an address of its own
    to listen on, and workers that are alike declare the same port whether or not they open it.
    """
    for other in cluster.port_users(node.machine).values():
        siblings = bool(pod.owner) and pod.owner == other.owner
        for mine in pod.ports:
            for theirs in other.ports:
                if siblings and not (mine.explicit and theirs.explicit):
                    continue
                if _same_port(mine, theirs):
                    return False
    return True


def _same_port(one: Port, other: Port) -> bool:
    return (
        one.number == other.number
        and one.protocol == other.protocol
        and (one.address == other.address or one.address in ANY_ADDRESS or other.address in ANY_ADDRESS)
    )


def _short_of(pod: PodInfo, node: NodeInfo) -> tuple[Reason, ...]:
    found: tuple[Reason, ...] = ()
    if len(node.pods) >= node.allowed_pods:
        found = (TOO_MANY_PODS,)
    allocatable, requested = node.allocatable, node.requested
    for name, wanted in pod.requests.items():
        have = allocatable.get(name, 0)
        if wanted > have - requested.get(name, 0):
            found += (Reason(f"Insufficient {name}", curable=wanted <= have),)
    return found


def _spread_verdict(cycle: Cycle, node: NodeInfo) -> tuple[Reason, ...]:
    for count in cycle.spread:
        value = node.labels.get(count.rule.topology_key)
        if value is None:
            return SPREAD_LABEL
        if count.counts.get(value, 0) + count.own - count.fewest > count.rule.max_skew:
            return SPREAD
    return ()


def _attracted(cluster: Cluster, cycle: Cycle, node: NodeInfo) -> bool:
    pod = cycle.pod
    pairs = [(term.topology_key, node.labels.get(term.topology_key)) for term in pod.affinity]
    if any(value is None for _, value in pairs):
        return False
    if all(cycle.attracted.get((key, value or ""), 0) > 0 for key, value in pairs):
        return True
    # The first pod of a group whose members want to be near each other has nobody to be near to.
    return not cycle.attracted and _matches_all(pod.affinity, pod, cluster)


def _touches(pairs: Mapping[Pair, int], node: NodeInfo) -> bool:
    # By the few labels of the node, not by the pairs, of which there may be one for each node.
    return any(pair in pairs for pair in node.labels.items())
