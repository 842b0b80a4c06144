"""kubectl get: outputs, selectors, sorting, kinds, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from support.manifests import config, cron_job, deployment, job, named, pod, secret, service
from support.transcript import Compare, Script

CONFIGS = (
    "apply -f -",
    [config("a", {"app": "x", "tier": "front"}, k="2"), config("b", {"app": "y"}, k="1"), config("c")],
)
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
LIMITS = {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}
VOLUME = {
    "capacity": {"storage": "1Gi"},
    "accessModes": ["ReadWriteOnce"],
    "hostPath": {"path": "/none"},
    "storageClassName": "script-disks",
}
CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "",
    "resources": {"requests": {"storage": "1Gi"}},
}
PATH = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}

KINDS = [
    *(
        "secrets",
        "services",
        "limits",
        "pvc",
        "roles",
        "rolebindings",
        "ingresses",
        "netpol",
        "leases",
        "pdb",
    ),
    *("controllerrevisions", "podtemplates", "hpa", "endpointslices", "serviceaccounts"),
]


def daemons(name: str) -> dict[str, Any]:
    return {key: deployment(name)["spec"][key] for key in ("selector", "template")}


def replicas(name: str) -> dict[str, Any]:
    return {"replicas": 0, **daemons(name)}


SCRIPTS: dict[str, Script] = {
    "an object in every output": [
        CONFIGS,
        ("> columns", "NAME          KEY\nmetadata.name data.k\n"),
        ("> template", "{{.metadata.name}}"),
        ("> path", "{.metadata.name}"),
        *(
            f"get configmap a -o {output}"
            for output in (
                "yaml",
                "json",
                "name",
                "wide",
                "jsonpath='{.data.k} {.metadata.labels}'",
                "jsonpath-as-json='{.metadata.labels}'",
                "custom-columns=NAME:.metadata.name,KEY:.data.k,NONE:.spec.none",
                "custom-columns-file=columns",
                "go-template='{{range $k, $v := .metadata.labels}}{{$k}}={{$v}};{{end}}'",
                "go-template-file=template",
                "jsonpath-file=path",
            )
        ),
    ],
    "a list in every output": [
        CONFIGS,
        *(
            f"get configmaps -l app -o {output}"
            for output in (
                "yaml",
                "json",
                "name",
                "wide",
                "jsonpath='{range .items[*]}{.metadata.name}:{.data.k}{\"\\n\"}{end}'",
                "jsonpath='{.items[?(@.data.k==\"1\")].metadata.name}'",
                "custom-columns=NAME:.metadata.name,KEY:.data.k",
                "go-template='{{len .items}}'",
            )
        ),
    ],
    "tables": [
        CONFIGS,
        "get configmaps -l app --show-labels",
        "get configmaps -l app -L tier -L app",
        "get configmaps -l app --label-columns tier,app --no-headers",
        "get configmaps -l app --sort-by '{.data.k}'",
        "get configmaps --sort-by .metadata.name -o name",
        "get configmaps -A -l app --field-selector metadata.namespace=$NAMESPACE",
        "get configmaps -l app --show-kind",
        "get configmaps/a configmaps/b",
        "get configmaps a b",
        "get cm,secrets,serviceaccounts",
        "get configmaps -l app --server-print=false",
        "get configmaps -l none=none",
        "get configmaps -l none=none -o yaml",
        "get configmaps -l none=none -o name",
        "get configmaps -n no-such-namespace",
        "get configmaps -A -l none=none",
    ],
    "selectors": [
        CONFIGS,
        "get configmaps -l app=x -o name",
        "get configmaps -l 'app!=x,app' -o name",
        "get configmaps -l 'app in (x,z)' -o name",
        "get configmaps -l 'app notin (x),app' -o name",
        "get configmaps -l '!app' -o name",
        "get configmaps -l app==y --chunk-size=1 -o name",
        "get configmaps --chunk-size=1 -o name",
        "get configmaps --field-selector metadata.name=a -o name",
        "get configmaps --field-selector metadata.name!=a -o name",
        "get configmaps --field-selector metadata.name=a,metadata.namespace=$NAMESPACE -o name",
        "! get configmaps --field-selector data.k=1",
        "! get configmaps -l 'app in x'",
        "! get configmaps -l 'a b'",
        "! get configmaps -l a=b=c",
        "! get configmaps -l 'app in (x'",
        "! get configmaps -l 'a/b/c=d'",
        "! get configmaps -l a=not/allowed",
        "! get configmaps --field-selector nonsense",
        "! get configmaps a -l app",
        "! get configmaps a --all-namespaces",
        "! get configmaps a --field-selector metadata.name=a",
    ],
    "what is not there": [
        "! get configmap none",
        "get configmap none --ignore-not-found",
        "get configmap none --ignore-not-found -o yaml",
        "! get configmaps none nor-this",
        "! get configmap kube-root-ca.crt none -o name",
        "! get pood",
        "! get pods.no.such.group",
        "! get pods,pood",
        "! get",
        "! get configmaps -o nonsense",
        "! get configmap kube-root-ca.crt -o jsonpath='{.none'",
        "get configmap kube-root-ca.crt -o jsonpath='{.none}'",
        "! get configmap kube-root-ca.crt -o go-template='{{.none.none.none'",
        "! get configmap kube-root-ca.crt -o custom-columns=nonsense",
        "! get configmaps --no-such-flag",
        "! get --raw /api/v1/no-such-thing",
        "! get --raw /apis/none.example/v1",
        "! get --raw /api/v1/namespaces/$NAMESPACE/configmaps/none",
        "get all",
    ],
    "from files": [
        ("> a.json", config("a", k="1")),
        ("> more/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n# nothing\n---\n"),
        "apply -R -f .",
        "get -f a.json",
        "get -f more -o name",
        "! get -f none.yaml",
        "! get -f a.json configmaps",
        ("> kustomization.yaml", "resources: [a.json]\nnamePrefix: k-\ncommonAnnotations: {by: kustomize}\n"),
        "kustomize .",
        "apply -k .",
        "get -k . -o jsonpath='{.metadata.annotations.by}'",
        "! kustomize more",
    ],
    "managed fields are shown when asked for": [
        ("create --field-manager=a-first -f -", config("a", k="1")),
        "get configmap a -o yaml --show-managed-fields",
        "label configmap a x=y --field-manager=b-second",
        "get configmap a -o yaml --show-managed-fields",
    ],
    "tables of pods": [
        (
            "apply -f -",
            [
                pod("gated", schedulingGates=[{"name": "example.com/hold"}]),
                pod("plain", nodeSelector={"a": "b"}, readinessGates=[{"conditionType": "example.com/fine"}]),
                pod(
                    "starting",
                    initContainers=[{"name": "first", "image": "i"}],
                    containers=[{"name": "one", "image": "i"}, {"name": "two", "image": "i"}],
                ),
            ],
        ),
        "get pods",
        "get pods -o wide",
        "get pods --field-selector status.phase=Pending -o name",
        "get pods --field-selector spec.schedulerName=nobody,spec.restartPolicy=Always -o name",
        "! get pods --field-selector spec.image=x",
        "get pod gated -o jsonpath='{.status}'",
        "get pod plain -o yaml",
        "get pods --sort-by=.metadata.name --no-headers",
        'patch pod plain --subresource=status --type=merge -p \'{"status":{"phase":"Failed","reason":"Lost"}}\'',
        "get pod plain",
        "get pod plain --subresource=status -o jsonpath='{.status.reason}'",
        "! get pod plain --subresource=nonsense",
    ],
    "tables of workloads": [
        (
            "apply -f -",
            [
                job("j", completions=3, parallelism=2),
                cron_job("cj"),
                cron_job("zoned", timeZone="Europe/Berlin"),
                deployment("d"),
                named("ReplicaSet", "rs", api="apps/v1", spec=replicas("rs")),
                named("StatefulSet", "sts", api="apps/v1", spec={"serviceName": "x", **replicas("sts")}),
                named("DaemonSet", "ds", api="apps/v1", spec=daemons("ds")),
            ],
        ),
        "wait job/j --for=condition=Suspended",
        *(f"get {kind} -o wide" for kind in ("jobs", "cronjobs", "deployments", "rs", "sts", "ds")),
        "get all --sort-by=.kind -o name",
    ],
    "tables of what configures": [
        (
            "apply -f -",
            [
                secret("s", a="1"),
                service("headless", selector=None),
                service("outside", type="ExternalName", externalName="example.com", clusterIP=None),
                named("LimitRange", "limits", spec=LIMITS),
                named("ResourceQuota", "quota", spec={"hard": {"pods": "3", "requests.cpu": "2"}}),
                named("PersistentVolumeClaim", "claim", spec=CLAIM),
                named("Role", "role", api="rbac.authorization.k8s.io/v1", rules=RULES),
                named(
                    "Ingress",
                    "way",
                    api="networking.k8s.io/v1",
                    spec={"rules": [{"http": {"paths": [PATH]}}]},
                ),
                named("NetworkPolicy", "net", api="networking.k8s.io/v1", spec={"podSelector": {}}),
                named("Lease", "lease", api="coordination.k8s.io/v1", spec={"holderIdentity": "me"}),
                named("PodDisruptionBudget", "pdb", api="policy/v1", spec={"minAvailable": 1}),
                named("ControllerRevision", "rev", api="apps/v1", revision=3, data={"a": 1}),
                named("PodTemplate", "template", template=daemons("x")["template"]),
                named(
                    "HorizontalPodAutoscaler",
                    "hpa",
                    api="autoscaling/v2",
                    spec={
                        "maxReplicas": 3,
                        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                    },
                ),
                named(
                    "EndpointSlice",
                    "slice",
                    api="discovery.k8s.io/v1",
                    addressType="IPv4",
                    endpoints=[{"addresses": ["192.0.2.1"]}],
                    ports=[{"name": "http", "port": 80, "protocol": "TCP"}],
                ),
            ],
        ),
        "create rolebinding rb --clusterrole=view --user=jane --group=team --serviceaccount=$NAMESPACE:default",
        *(f"get {kind} -o wide" for kind in KINDS),
        "wait quota/quota --for=jsonpath={.status.hard.pods}=3",
        "get quota -o wide",
        "get quota quota -o jsonpath='{.status}'",
    ],
    "tables of what the cluster has": [
        (
            "apply -f -",
            [
                named("PriorityClass", "script-high", api="scheduling.k8s.io/v1", value=7, description="d"),
                named(
                    "StorageClass", "script-disks", api="storage.k8s.io/v1", provisioner="example.com/disks"
                ),
                named("PersistentVolume", "script-volume", spec=VOLUME),
                named("RuntimeClass", "script-runtime", api="node.k8s.io/v1", handler="fast"),
                named(
                    "IngressClass",
                    "script-ways",
                    api="networking.k8s.io/v1",
                    spec={"controller": "example.com/ways"},
                ),
                named(
                    "CSIDriver", "script.example.com", api="storage.k8s.io/v1", spec={"attachRequired": False}
                ),
                named("ClusterRole", "script-role", api="rbac.authorization.k8s.io/v1", rules=RULES),
            ],
        ),
        "create clusterrolebinding script-binding --clusterrole=view --user=jane --group=team",
        "get priorityclass script-high -o wide",
        "get storageclass script-disks -o wide",
        "wait pv/script-volume --for=jsonpath={.status.phase}=Available",
        "get pv script-volume -o wide",
        "get runtimeclass script-runtime -o wide",
        "get ingressclass script-ways -o wide",
        "get csidriver script.example.com -o wide",
        "get clusterrole script-role -o wide",
        "get clusterrolebinding script-binding -o wide",
        "get namespace $NAMESPACE -o wide",
        "delete pv/script-volume priorityclass/script-high storageclass/script-disks runtimeclass/script-runtime"
        " ingressclass/script-ways csidriver/script.example.com clusterrole/script-role"
        " clusterrolebinding/script-binding",
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_get(compare: Compare, name: str) -> None:
    compare(SCRIPTS[name])


@pytest.mark.differs(
    "parts of built-in objects without content", why="they are left out; Kubernetes writes `status: {}`"
)
def test_empty_parts(compare: Compare) -> None:
    compare([("create -f -", cron_job("cj")), "get cronjob cj -o yaml"])
