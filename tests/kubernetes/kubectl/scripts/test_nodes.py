"""kubectl on Node objects: cordon, drain, taint, top."""

from __future__ import annotations

import pytest

from support.manifests import config, node, pod
from support.transcript import Compare, Script

#: Bound by hand: nobody runs it.
BOUND = pod("bound", nodeName="script-node", tolerations=[{"operator": "Exists"}])
NODE = node("script-node", {"disk": "fast"}, taints=[])

SCRIPTS: dict[str, Script] = {
    "taint and label": [
        ("create -f -", NODE),
        "taint node script-node gpu=yes:NoSchedule",
        "! taint node script-node gpu=no:NoSchedule",
        "taint node script-node gpu=no:NoSchedule --overwrite",
        "taint node script-node gpu=no:PreferNoSchedule other:NoExecute",
        "taint node script-node gpu:NoSchedule-",
        "taint node script-node gpu-",
        "! taint node script-node none-",
        "! taint node script-node gpu=x:Sometimes",
        "! taint node script-node 'a b=x:NoSchedule'",
        "! taint node none gpu=x:NoSchedule",
        "label node script-node example.com/type=big",
        "get node script-node --show-labels",
        "get node script-node -o jsonpath='{.metadata.labels}'",
        "delete node script-node",
    ],
    "cordon and drain": [
        ("create -f -", NODE),
        "cordon script-node",
        "cordon script-node",
        "get node script-node -o jsonpath='{.spec.unschedulable}'",
        "uncordon script-node",
        "uncordon script-node",
        "cordon script-node --dry-run=server",
        "cordon -l disk=fast",
        "uncordon -l disk=fast",
        "! cordon none",
        "! cordon",
        ("create -f -", BOUND),
        "! drain script-node --timeout=1s",
        "! drain script-node --force --dry-run=server --timeout=1s --ignore-daemonsets nonsense",
        "drain script-node --force --dry-run=server",
        "drain script-node --force --pod-selector=none=none",
        "drain script-node --force --grace-period=0 --disable-eviction",
        "drain script-node",
        "! drain none",
        "delete node script-node",
    ],
    "top is refused": ["! top node", "! top pods", "! top pod none"],
    "bad nodes are refused": [
        ("! create -f -", node("Bad_Name")),
        ("! create -f -", node("script-bad", taints=[{"key": "k", "effect": "Sometimes"}])),
        ("! create -f -", node("script-bad", taints=[{"key": "a b", "effect": "NoSchedule"}])),
        ("! create -f -", node("script-bad", podCIDR="nonsense")),
        ("! create -f -", {**node("script-bad"), "metadata": {"name": "script-bad", "labels": {"a b": "c"}}}),
        ("! create -f -", config("Bad_Name")),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nodes(compare: Compare, name: str) -> None:
    compare(SCRIPTS[name])
