"""Preemption: which pods of lower priority to end, on which node, so that a pod fits.

As upstream's DefaultPreemption, without disruption budgets: on each node where it could help, all pods of
lower priority are taken away and as many as possible, most important first, are let back; the node whose
victims matter least wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from hortator.local.scheduler.cluster import Cluster, NodeInfo
from hortator.local.scheduler.fit import Reason, Verdicts, fits, prepare
from hortator.local.scheduler.messages import fit_message
from hortator.local.scheduler.pods import PodInfo
from hortator.local.scheduler.terms import NodeTerm

__all__ = ["NOT_HELPFUL", "Preemption", "preempt"]

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class Preemption:
    """A node and its victims, most important first; or the sentence why preemption does not help.

    ``keeps``: it was not tried, so room that is kept for the pod already stays kept.
    """

    node: str = ""
    victims: tuple[PodInfo, ...] = ()
    message: str = ""
    keeps: bool = False


def preempt(
    cluster: Cluster, pod: PodInfo, verdicts: Verdicts, volumes: tuple[tuple[NodeTerm, ...], ...] = ()
) -> Preemption:
    """Choose a node and its victims; ``verdicts`` say why the pod fits on none of the nodes now."""
    if not pod.preempts:
        return Preemption(message="not eligible due to preemptionPolicy=Never.", keeps=True)
    nominated = cluster.nodes.get(cluster.nominated_to(pod.uid))
    if (
        nominated is not None
        and _curable(verdicts.get(nominated.name, ()))
        and any(one.deleting and one.priority < pod.priority for one in nominated.pods.values())
    ):
        return Preemption(message="not eligible due to a terminating pod on the nominated node.", keeps=True)
    candidates: dict[str, tuple[PodInfo, ...]] = {}
    refusals: dict[str, tuple[Reason, ...]] = {}
    for name, node in cluster.nodes.items():
        if not _curable(verdicts.get(name, ())):
            refusals[name] = (Reason(NOT_HELPFUL, curable=False),)
            continue
        victims, refusal = _victims(cluster, pod, node, volumes)
        if victims:
            candidates[name] = victims
        else:
            refusals[name] = refusal
    if not candidates:
        return Preemption(message=fit_message(len(cluster.nodes), refusals))
    node_name = min(candidates, key=lambda name: _harm(candidates[name]))
    return Preemption(node=node_name, victims=candidates[node_name])


def _curable(verdict: tuple[Reason, ...]) -> bool:
    return bool(verdict) and all(reason.curable for reason in verdict)


def _importance(pod: PodInfo) -> tuple[int, str]:
    """Order pods, most important first: higher priority, then longer running."""
    return (-pod.priority, pod.started or pod.created)


def _victims(
    cluster: Cluster, pod: PodInfo, node: NodeInfo, volumes: tuple[tuple[NodeTerm, ...], ...]
) -> tuple[tuple[PodInfo, ...], tuple[Reason, ...]]:
    lower = sorted((one for one in node.pods.values() if one.priority < pod.priority), key=_importance)
    if not lower:
        return (), (Reason(NO_VICTIMS, curable=False),)
    victims = []
    with cluster.trial(node) as trial:
        for one in lower:
            trial.remove(one)
        if verdict := fits(cluster, prepare(cluster, pod, volumes), node):
            return (), verdict
        for one in lower:
            trial.add(one)
            if fits(cluster, prepare(cluster, pod, volumes), node):
                trial.remove(one)
                victims.append(one)
    return tuple(victims), ()


def _harm(victims: tuple[PodInfo, ...]) -> tuple[int, int, int, _Latest]:
    """Order nodes by what their victims matter: highest priority, sum of priorities, number, latest start."""
    highest = max(one.priority for one in victims)
    earliest = min((one.started or one.created for one in victims if one.priority == highest), default="")
    return (highest, sum(one.priority + 2**31 for one in victims), len(victims), _Latest(earliest))


@dataclass(frozen=True, slots=True)
class _Latest:
    """A time that sorts the later one first."""

    time: str

    def __lt__(self, other: _Latest) -> bool:
        return self.time > other.time
