"""One decision: the node for a pod, or the sentence why there is none and whom to end so that there will be
one.

:func:`decide` reads a :class:`~hortator.local.scheduler.cluster.Cluster` and changes nothing; acting is
``run``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from hortator.local.scheduler.cluster import Cluster
from hortator.local.scheduler.fit import Reason, fits, prepare
from hortator.local.scheduler.messages import NO_NODES, fit_message
from hortator.local.scheduler.pods import PodInfo
from hortator.local.scheduler.preempt import NOT_HELPFUL, preempt
from hortator.local.scheduler.score import best
from hortator.local.scheduler.terms import NodeTerm

__all__ = ["Decision", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    """``node`` when there is one; else ``message``.

    ``nominated`` is the node on which room is to be kept for the pod, if any; ``victims`` are ended there.
    """

    node: str = ""
    message: str = ""
    nominated: str = ""
    victims: tuple[PodInfo, ...] = ()


def decide(
    cluster: Cluster, pod: PodInfo, *, blocked: str = "", volumes: tuple[tuple[NodeTerm, ...], ...] = ()
) -> Decision:
    """Decide where a pod goes.

    ``blocked`` is why it can go nowhere at all (a volume that is not there); ``volumes`` are the node
    affinities of the volumes that it uses.
    """
    total = len(cluster.nodes)
    if not total:
        return Decision(message=NO_NODES)
    if blocked:
        nowhere = {name: (Reason(NOT_HELPFUL, curable=False),) for name in cluster.nodes}
        return Decision(
            message=fit_message(total, {}, before=blocked, after=f"preemption: {fit_message(total, nowhere)}")
        )
    cycle = prepare(cluster, pod, volumes)
    reserved = cluster.nodes.get(cluster.nominated_to(pod.uid))
    if reserved is not None and not fits(cluster, cycle, reserved):
        return Decision(node=reserved.name)
    fitting = []
    verdicts: dict[str, tuple[Reason, ...]] = {}
    for name, node in cluster.nodes.items():
        verdict = fits(cluster, cycle, node)
        if verdict:
            verdicts[name] = verdict
        else:
            fitting.append(node)
    if fitting:
        return Decision(node=best(cluster, pod, fitting).name)
    outcome = preempt(cluster, pod, verdicts, volumes)
    return Decision(
        message=fit_message(total, verdicts, after=outcome.message and f"preemption: {outcome.message}"),
        nominated=cluster.nominated_to(pod.uid) if outcome.keeps else outcome.node,
        victims=outcome.victims,
    )
