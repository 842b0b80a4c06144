"""How long the local scheduler needs for one decision: ``python -m bench.scheduler [NODES PODS]`` (default 100 1000).

Decisions only, in this process: no API, no watch. CPU time, so that what else runs on the machine counts less.
The claim is less than 1 ms for each kind of pod.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from hortator.local.scheduler.cluster import Cluster
from hortator.local.scheduler.decide import decide
from hortator.local.scheduler.pods import PodInfo, pod_info

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
DECISIONS = 300

#: Kinds of pods: a name, and what is in their spec beside one CPU.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "node selector": {"nodeSelector": {ZONE: "zone-1"}},
    "fits nowhere": {"nodeSelector": {ZONE: "none"}},
    "spread over zones": {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": ZONE,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "new"}},
            }
        ]
    },
    "one per node": {
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": HOST, "labelSelector": {"matchLabels": {"app": "new"}}}
                ]
            }
        }
    },
}


def make_pod(name: str, app: str, spec: Mapping[str, Any]) -> PodInfo:
    """Return a pod of one CPU."""
    return pod_info(
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": name,
                "labels": {"app": app},
                "ownerReferences": [{"kind": "Job", "name": app, "uid": app, "controller": True}],
            },
            "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}], **spec},
        }
    )


def make_cluster(nodes: int, pods: int) -> Cluster:
    """Return a cluster with that many nodes in four zones and pods of twenty jobs."""
    cluster = Cluster()
    for number in range(nodes):
        name = f"node-{number}"
        cluster.set_node(
            {
                "metadata": {"name": name, "labels": {HOST: name, ZONE: f"zone-{number % 4}"}},
                "status": {"allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110"}},
            }
        )
    for number in range(pods):
        cluster.place(make_pod(f"old-{number}", f"job-{number % 20}", {"nodeName": f"node-{number % nodes}"}))
    return cluster


def main(nodes: int = 100, pods: int = 1000) -> None:
    """Print a row for each kind of pod."""
    print(f"one decision, {nodes} nodes, {pods} pods")
    for kind, spec in KINDS.items():
        cluster = make_cluster(nodes, pods)
        waiting = [make_pod(f"new-{number}", "new", spec) for number in range(DECISIONS)]
        began = time.process_time()
        for pod in waiting:
            decision = decide(cluster, pod)
            if decision.node:
                cluster.assume(pod, decision.node)
        each = (time.process_time() - began) / DECISIONS
        print(f"{kind:<20} {each * 1e6:8.0f} us   (below 1000 us)")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
