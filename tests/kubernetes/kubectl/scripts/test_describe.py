"""kubectl describe and events."""

from __future__ import annotations

import pytest

from support.manifests import config, cron_job, deployment, job, named, pod, secret, service
from support.transcript import Compare, Script

RULES = [
    {"apiGroups": ["", "batch"], "resources": ["pods"], "verbs": ["get", "list"], "resourceNames": ["a"]}
]
LIMITS = {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}
CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "",
    "resources": {"requests": {"storage": "1Gi"}},
}
PATH = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
BUSY = {
    "name": "main",
    "image": "i",
    "command": ["sh", "-c"],
    "args": ["sleep 1"],
    "ports": [{"containerPort": 80, "name": "http"}],
    "env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ],
    "envFrom": [{"secretRef": {"name": "s", "optional": True}}],
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
    "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 3},
    "startupProbe": {"tcpSocket": {"port": 80}, "initialDelaySeconds": 2},
}
VOLUMES = [
    {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
    {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    {"name": "h", "hostPath": {"path": "/none"}},
    {"name": "d", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    {"name": "p", "persistentVolumeClaim": {"claimName": "claim"}},
]
EVENT = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "told"},
    "involvedObject": {"kind": "ConfigMap", "name": "c", "namespace": "$NAMESPACE", "apiVersion": "v1"},
    "reason": "Told",
    "message": "it was told",
    "type": "Warning",
    "count": 3,
    "source": {"component": "tests"},
    "firstTimestamp": "2026-01-01T00:00:00Z",
    "lastTimestamp": "2026-01-01T00:00:00Z",
}

SCRIPTS: dict[str, Script] = {
    "configuration": [
        ("create -f -", [config("c", {"app": "x"}, a="1", long="two\nlines\n"), secret("s", password="abc")]),
        "annotate configmap c note='hello there' --overwrite",
        "describe configmap c",
        "describe configmaps -l app=x",
        "describe secret s",
        "describe cm/c secret/s",
        "describe configmap c --show-events=false",
        ("> c.json", config("c")),
        "describe -f c.json",
        "describe serviceaccount default",
        "describe namespace $NAMESPACE",
        "! describe configmap none",
        "! describe pood",
        "! describe",
        "! describe configmaps -l none=none extra",
        "describe configmaps -l none=none",
        "describe configmap kube",
    ],
    "pods": [
        (
            "create -f -",
            [
                pod("plain", {"app": "x"}, containers=[BUSY], volumes=VOLUMES, priority=None),
                pod("gated", schedulingGates=[{"name": "example.com/hold"}], nodeSelector={"a": "b"}),
                pod(
                    "several",
                    tolerations=[
                        {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
                    ],
                    initContainers=[{"name": "first", "image": "i"}],
                    serviceAccountName="default",
                ),
            ],
        ),
        "describe pod plain",
        "describe pod gated",
        "describe pods several",
    ],
    "workloads": [
        (
            "create -f -",
            [
                job("j", completions=3, backoffLimit=2),
                cron_job("cj"),
                deployment("d"),
                deployment("e", minReadySeconds=3),
            ],
        ),
        "wait job/j --for=condition=Suspended",
        "describe job j --show-events=false",
        "describe cronjob cj",
        "describe podtemplates",
    ],
    "access": [
        ("create -f -", [named("Role", "r", api="rbac.authorization.k8s.io/v1", rules=RULES)]),
        "describe role r",
        "create rolebinding rb --role=r --user=jane --serviceaccount=$NAMESPACE:default",
        "describe rolebinding rb",
        "describe clusterrole view",
        "describe clusterrole cluster-admin",
        "describe clusterrolebinding cluster-admin",
    ],
    "limits and volumes": [
        (
            "create -f -",
            [
                named("LimitRange", "limits", spec=LIMITS),
                named("ResourceQuota", "quota", spec={"hard": {"pods": "3", "requests.cpu": "2"}}),
                named("PodDisruptionBudget", "pdb", api="policy/v1", spec={"minAvailable": 1}),
                named("NetworkPolicy", "net", api="networking.k8s.io/v1", spec={"podSelector": {}}),
                named("Lease", "lease", api="coordination.k8s.io/v1", spec={"holderIdentity": "me"}),
                named(
                    "Ingress",
                    "way",
                    api="networking.k8s.io/v1",
                    spec={"rules": [{"http": {"paths": [PATH]}}]},
                ),
                service("headless", selector=None),
            ],
        ),
        "wait quota/quota --for=jsonpath={.status.hard.pods}=3",
        "describe limits limits",
        "describe quota quota",
        "describe networkpolicy net",
        "describe lease lease",
        "describe ingress way",
        "describe namespace $NAMESPACE",
        "create priorityclass $NAMESPACE-p --value=7",
        "describe priorityclass $NAMESPACE-p",
        "delete priorityclass $NAMESPACE-p",
    ],
    "events": [
        "events",
        "create configmap c",
        ("create -f -", EVENT),
        "events",
        "events --types=Warning",
        "events --types=Normal",
        "events --for configmap/c",
        "events --for configmap/other",
        "events --for configmap/c -o name",
        "events --no-headers",
        "get events -o wide",
        "get events --field-selector reason=Told,type=Warning -o name",
        "get events --field-selector involvedObject.name=none",
        "! get events --field-selector nonsense=x",
        "describe configmap c",
        "get event told -o jsonpath='{.reason} {.count} {.involvedObject} {.source}'",
        "! events --types=Nonsense",
        "! events --for pood/x",
        ("! create -f -", {**EVENT, "involvedObject": {"kind": "Pod", "namespace": "other", "name": "p"}}),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_describe(compare: Compare, name: str) -> None:
    compare(SCRIPTS[name])


@pytest.mark.differs(
    "claims in use are protected by a finalizer",
    why="nothing else of a claim's volume would be kept by it here",
)
def test_describe_claims(compare: Compare) -> None:
    claim = named("PersistentVolumeClaim", "claim", spec=CLAIM)
    compare([("create -f -", claim), "describe pvc claim --show-events=false"])
