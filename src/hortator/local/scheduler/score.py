"""Which of the nodes that fit is best: kube-scheduler's default scores and weights, without images and
volumes.

One rule differs: upstream spreads pods of one Service or ReplicaSet; here pods of one controller (a Job, an
MPIJob) are spread over the nodes. Equal scores go to the node with fewer pods, then to the first by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from hortator.local.scheduler.cluster import Cluster, NodeInfo
from hortator.local.scheduler.fit import Matcher
from hortator.local.scheduler.pods import PodInfo
from hortator.local.scheduler.terms import SpreadRule, tolerates

__all__ = ["best", "scores"]

TOP = 100
TAINTS = 3
NODE_AFFINITY = 2
SPREAD = 2
POD_AFFINITY = 2


def best(cluster: Cluster, pod: PodInfo, nodes: Sequence[NodeInfo]) -> NodeInfo:
    """Return the best of the nodes, of which there must be one."""
    if len(nodes) == 1:
        return nodes[0]
    points = scores(cluster, pod, nodes)
    order = min(range(len(nodes)), key=lambda i: (-points[i], len(nodes[i].pods), nodes[i].name))
    return nodes[order]


def scores(cluster: Cluster, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[float]:
    """Return the score of each node."""
    cpu, memory = pod.scored_cpu, pod.scored_memory
    total = [_resources(node, cpu, memory) for node in nodes]
    if any(node.soft_taints for node in nodes):
        untolerated = [
            sum(1 for taint in node.soft_taints if not tolerates(pod.tolerations, taint)) for node in nodes
        ]
        _add(total, _normal(untolerated, reverse=True), TAINTS)
    if pod.node_preferred:
        wanted = [
            sum(weight for weight, term in pod.node_preferred if term.matches(node.labels, node.name))
            for node in nodes
        ]
        _add(total, _normal(wanted, reverse=False), NODE_AFFINITY)
    soft = tuple(rule for rule in pod.spread if not rule.hard)
    if soft:
        _add(total, _spread(cluster, pod, soft, nodes), SPREAD)
    elif pod.owner and not pod.spread:
        _add(total, _normal([node.owners.get(pod.owner, 0) for node in nodes], reverse=True), SPREAD)
    if pod.preferred_affinity or pod.preferred_anti_affinity or cluster.affine:
        _add(total, _pod_affinity(cluster, pod, nodes), POD_AFFINITY)
    return total


def _resources(node: NodeInfo, cpu: int, memory: int) -> float:
    """Score free room (LeastAllocated) and balance between CPU and memory (BalancedAllocation)."""
    have_cpu, have_memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
    if not have_cpu or not have_memory:
        return 0.0
    used_cpu, used_memory = node.scored_cpu / have_cpu, node.scored_memory / have_memory
    next_cpu, next_memory = used_cpu + cpu / have_cpu, used_memory + memory / have_memory
    free = (max(0.0, 1 - next_cpu) + max(0.0, 1 - next_memory)) / 2
    before = abs(min(1.0, used_cpu) - min(1.0, used_memory)) / 2
    after = abs(min(1.0, next_cpu) - min(1.0, next_memory)) / 2
    return TOP * free + TOP / 2 + (TOP / 2 + TOP * (before - after)) / 2


def _add(total: list[float], points: Sequence[float], weight: int) -> None:
    for i, value in enumerate(points):
        total[i] += weight * value


def _normal(values: Sequence[float], *, reverse: bool) -> list[float]:
    """Scale to 0 … 100 by the largest, as upstream's default normalisation does."""
    top = max(values)
    if top <= 0:
        return [float(TOP if reverse else 0)] * len(values)
    return [TOP - TOP * value / top if reverse else TOP * value / top for value in values]


def _spread(
    cluster: Cluster, pod: PodInfo, rules: tuple[SpreadRule, ...], nodes: Sequence[NodeInfo]
) -> list[float]:
    costs = [0.0] * len(nodes)
    for rule in rules:
        counts: dict[str, int] = {}
        matcher = Matcher(rule.selector, pod.namespace)
        for node in cluster.nodes.values():
            if (value := node.labels.get(rule.topology_key)) is not None:
                counts[value] = counts.get(value, 0) + matcher.count(node)
        weight = log(len(counts) + 2)
        for i, node in enumerate(nodes):
            value = node.labels.get(rule.topology_key)
            crowd = max(counts.values(), default=0) if value is None else counts[value]
            costs[i] += crowd * weight + rule.max_skew - 1
    low, high = min(costs), max(costs)
    if high == 0:
        return [float(TOP)] * len(nodes)
    return [TOP * (high + low - cost) / high for cost in costs]


def _pod_affinity(cluster: Cluster, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[float]:
    """Score nearness: the pod's own preferences and those of the pods that are there already."""
    pairs: dict[tuple[str, str], int] = {}

    def note(node: NodeInfo, key: str, weight: int) -> None:
        if (value := node.labels.get(key)) is not None:
            pairs[key, value] = pairs.get((key, value), 0) + weight

    if pod.preferred_affinity or pod.preferred_anti_affinity:
        for node in cluster.nodes.values():
            for other in node.pods.values():
                for term in pod.preferred_affinity:
                    if term.matches(other.namespace, other.labels, cluster.namespaces):
                        note(node, term.topology_key, term.weight)
                for term in pod.preferred_anti_affinity:
                    if term.matches(other.namespace, other.labels, cluster.namespaces):
                        note(node, term.topology_key, -term.weight)
    for other in cluster.affine.values():
        node = cluster.nodes[other.node]
        for term in (*other.affinity, *other.preferred_affinity):
            if term.matches(pod.namespace, pod.labels, cluster.namespaces):
                note(node, term.topology_key, term.weight or 1)
        for term in other.preferred_anti_affinity:
            if term.matches(pod.namespace, pod.labels, cluster.namespaces):
                note(node, term.topology_key, -term.weight)
    if not pairs:
        return [0.0] * len(nodes)
    sums = [sum(pairs.get(pair, 0) for pair in node.labels.items()) for node in nodes]
    low, high = min(sums), max(sums)
    if low == high:
        return [0.0] * len(nodes)
    return [TOP * (one - low) / (high - low) for one in sums]
