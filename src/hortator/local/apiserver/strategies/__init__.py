"""What a kind means beyond its fields: one small file per kind, imported when the kind is first needed.

Kinds without a file of their own get :class:`.plain.PlainStrategy`: structural validation, required fields,
columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

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
    "configmaps": "config:ConfigMapStrategy",
    "secrets": "config:SecretStrategy",
    "services": "service:ServiceStrategy",
    "namespaces": "namespace:NamespaceStrategy",
    "nodes": "node:NodeStrategy",
    "persistentvolumes": "volume:PersistentVolumeStrategy",
    "persistentvolumeclaims": "volume:PersistentVolumeClaimStrategy",
    "storageclasses.storage.k8s.io": "volume:StorageClassStrategy",
    "events": "event:EventStrategy",
    "events.events.k8s.io": "event:NewEventStrategy",
    "leases.coordination.k8s.io": "lease:LeaseStrategy",
    "priorityclasses.scheduling.k8s.io": "priorityclass:PriorityClassStrategy",
    "roles.rbac.authorization.k8s.io": "rbac:RoleStrategy",
    "clusterroles.rbac.authorization.k8s.io": "rbac:RoleStrategy",
    "rolebindings.rbac.authorization.k8s.io": "rbac:BindingStrategy",
    "clusterrolebindings.rbac.authorization.k8s.io": "rbac:BindingStrategy",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": "webhook:WebhookStrategy",
    "validatingwebhookconfigurations.admissionregistration.k8s.io": "webhook:WebhookStrategy",
    "apiservices.apiregistration.k8s.io": "apiservice:APIServiceStrategy",
    "limitranges": "limits:LimitRangeStrategy",
    "resourcequotas": "limits:ResourceQuotaStrategy",
}


class _Late:
    """Stands for a strategy and makes it when it is first asked for something.

    A server names the strategies of all kinds when it starts and needs few of them soon; importing all
    takes longer than everything else in its start.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        strategy = self.__dict__.get("_made")
        if strategy is None:
            strategy = self.__dict__["_made"] = _make(self.kind)
        value = self.__dict__[name] = getattr(strategy, name)
        return value


def _make(kind: Kind) -> Strategy:
    from importlib import import_module

    module, _, name = STRATEGIES.get(kind.group_resource, "plain:PlainStrategy").partition(":")
    strategy: Strategy = getattr(import_module(f"{__name__}.{module}"), name)(kind)
    return strategy


def strategy_for(kind: Kind) -> Strategy:
    """Return the strategy of a built-in kind; its module is imported when it is first used."""
    return cast("Strategy", _Late(kind))
