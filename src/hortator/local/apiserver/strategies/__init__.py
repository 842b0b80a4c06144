"""What a kind means beyond its fields: one small file per kind, imported when the kind is first needed.

Kinds without a file of their own get :class:`.plain.PlainStrategy`: structural validation, required fields,
columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hortator.local.apiserver.scheme.kinds import Kind
    from hortator.local.apiserver.strategies.base import Strategy

__all__ = ["strategy_for"]

#: ``plural.group`` -> module and class.
STRATEGIES = {
    "pods": "pod:PodStrategy",
    "jobs.batch": "job:JobStrategy",
    "cronjobs.batch": "cronjob:CronJobStrategy",
    "deployments.apps": "apps:DeploymentStrategy",
    "replicasets.apps": "apps:ReplicaSetStrategy",
    "statefulsets.apps": "apps:StatefulSetStrategy",
    "daemonsets.apps": "apps:DaemonSetStrategy",
    "replicationcontrollers": "apps:ReplicationControllerStrategy",
}


def strategy_for(kind: Kind) -> Strategy:
    """Return a new strategy for a built-in kind."""
    from importlib import import_module

    module, _, name = STRATEGIES.get(kind.group_resource, "plain:PlainStrategy").partition(":")
    strategy: Strategy = getattr(import_module(f"{__name__}.{module}"), name)(kind)
    return strategy
