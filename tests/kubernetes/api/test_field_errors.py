"""Field errors of built-in kinds: both servers blame the same fields for the same reasons."""

from __future__ import annotations

from typing import Any

import pytest

from support.server import Answer, Server
from support.staying import until

Object = dict[str, Any]

CORE = "/api/v1/namespaces/default/"
CONTAINER: Object = {"name": "c", "image": "i"}
LABELS = {"a": "b"}


def pod(**spec: Any) -> Object:
    return {"metadata": {"name": "x"}, "spec": {"containers": [CONTAINER], **spec}}


def container(**more: Any) -> Object:
    return pod(containers=[{**CONTAINER, **more}])


def volume(**source: Any) -> Object:
    return pod(volumes=[{"name": "v", **source}])


def named(name: str = "x", **more: Any) -> Object:
    return {"metadata": {"name": name}, **more}


def workload(**spec: Any) -> Object:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
    return named(spec={"selector": {"matchLabels": LABELS}, "template": template, **spec})


PODS = [
    pod(containers=[]),
    pod(containers=[CONTAINER, CONTAINER]),
    pod(restartPolicy="Sometimes"),
    pod(dnsPolicy="Odd"),
    pod(terminationGracePeriodSeconds=-1),
    pod(activeDeadlineSeconds=0),
    pod(nodeSelector={"a b": "c"}),
    pod(nodeName="A_b"),
    pod(hostname="A_b"),
    pod(subdomain="a.b"),
    pod(tolerations=[{"key": "a", "operator": "Odd"}]),
    pod(tolerations=[{"operator": "Exists", "value": "x"}]),
    pod(tolerations=[{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 3}]),
    pod(hostAliases=[{"ip": "x", "hostnames": ["A_"]}]),
    pod(initContainers=[{**CONTAINER, "name": "c"}]),
    pod(initContainers=[{**CONTAINER, "name": "i", "readinessProbe": {"httpGet": {"port": 1}}}]),
    pod(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Odd"}]),
    pod(
        affinity={
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
        }
    ),
    pod(
        affinity={
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Odd"}]}]
                }
            }
        }
    ),
    pod(
        affinity={
            "podAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 0, "podAffinityTerm": {"topologyKey": ""}}
                ]
            }
        }
    ),
    pod(schedulingGates=[{"name": "a"}, {"name": "a"}]),
    pod(securityContext={"runAsUser": -1, "fsGroup": -1, "supplementalGroups": [-1]}),
    pod(os={"name": "odd"}),
    pod(readinessGates=[{"conditionType": "a b"}]),
    pod(shareProcessNamespace=True, hostPID=True),
    pod(dnsConfig={"nameservers": ["x"], "searches": ["A b"]}),
    pod(imagePullSecrets=[{"name": ""}]),
    pod(priorityClassName="A b"),
    pod(serviceAccountName="A b"),
    container(name="A b"),
    container(image=""),
    container(image=" i"),
    container(imagePullPolicy="Odd"),
    container(ports=[{"containerPort": 0}]),
    container(ports=[{"containerPort": 80, "protocol": "ODD", "name": "Too_Long_For_A_Port"}]),
    container(ports=[{"containerPort": 80, "hostPort": 70000}]),
    container(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
    container(env=[{"name": "a=b", "value": "x"}]),
    container(env=[{"name": ""}]),
    container(env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
    container(env=[{"name": "A", "valueFrom": {}}]),
    container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.none"}}}]),
    container(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "", "key": ""}}}]),
    container(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "odd"}}}]),
    container(envFrom=[{"prefix": "a="}]),
    container(volumeMounts=[{"name": "none", "mountPath": "/x"}]),
    container(volumeMounts=[{"name": "", "mountPath": ""}]),
    container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
    container(resources={"limits": {"cpu": "-1"}}),
    container(resources={"requests": {"odd": "1"}}),
    container(resources={"requests": {"example.com/gpu": "1"}}),
    container(resources={"limits": {"example.com/gpu": "1500m"}}),
    container(livenessProbe={}),
    container(livenessProbe={"exec": {"command": []}}),
    container(livenessProbe={"httpGet": {"port": 0}, "periodSeconds": -1}),
    container(livenessProbe={"httpGet": {"port": 1}, "successThreshold": 2}),
    container(livenessProbe={"httpGet": {"port": 1}, "tcpSocket": {"port": 1}}),
    container(readinessProbe={"tcpSocket": {"port": "Bad_Name"}, "terminationGracePeriodSeconds": 5}),
    container(lifecycle={"preStop": {}}),
    container(lifecycle={"postStart": {"exec": {"command": []}}}),
    container(lifecycle={"preStop": {"sleep": {"seconds": 100}}}),
    container(terminationMessagePolicy="Odd"),
    container(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
    container(securityContext={"procMount": "Odd"}),
    container(stdinOnce=True, volumeDevices=[{"name": "v", "devicePath": "/x"}]),
    container(restartPolicy="Odd"),
    container(workingDir="/a/../b", command=["x"]),
    volume(),
    volume(emptyDir={"sizeLimit": "-1"}),
    volume(emptyDir={}, hostPath={"path": "/x"}),
    volume(hostPath={"path": "/a/../b"}),
    volume(hostPath={"path": "/a", "type": "Odd"}),
    volume(configMap={"name": "", "defaultMode": 1000}),
    volume(configMap={"name": "a", "items": [{"key": "", "path": "/x"}]}),
    volume(secret={"secretName": ""}),
    volume(downwardAPI={"items": [{"path": "../x", "fieldRef": {"fieldPath": "metadata.name"}}]}),
    volume(downwardAPI={"items": [{"path": "x"}]}),
    volume(projected={"sources": [{"serviceAccountToken": {"path": "", "expirationSeconds": 5}}]}),
    volume(projected={"sources": [{}]}),
    volume(persistentVolumeClaim={"claimName": ""}),
    pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]),
    pod(volumes=[{"name": "A b", "emptyDir": {}}]),
    pod(ephemeralContainers=[{**CONTAINER, "name": "e"}]),
]

OTHERS: list[tuple[str, Object]] = [
    (CORE + "configmaps", named("A b")),
    (CORE + "configmaps", named(data={"a b": "c"})),
    (CORE + "configmaps", named(data={"a": "c"}, binaryData={"a": "YQ=="})),
    (
        CORE + "configmaps",
        {"metadata": {"name": "x", "labels": {"a b": "c", "d": "e f"}, "annotations": {"a b": ""}}},
    ),
    (CORE + "configmaps", {"metadata": {"name": "x", "ownerReferences": [{"kind": "A"}]}}),
    (CORE + "configmaps", {"metadata": {}}),
    (CORE + "configmaps", {"metadata": {"generateName": "A b"}}),
    (CORE + "secrets", named(data={"a/b": "YQ=="})),
    (CORE + "secrets", named(type="kubernetes.io/tls")),
    (CORE + "secrets", named(type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "e30="})),
    (CORE + "secrets", named(type="kubernetes.io/basic-auth")),
    (CORE + "secrets", named(type="kubernetes.io/ssh-auth")),
    (CORE + "secrets", named(type="kubernetes.io/service-account-token")),
    (CORE + "services", named(spec={})),
    (CORE + "services", named("1x", spec={"ports": [{"port": 80}]})),
    (CORE + "services", named(spec={"ports": [{"port": 0}]})),
    (CORE + "services", named(spec={"ports": [{"port": 80}, {"port": 80}]})),
    (CORE + "services", named(spec={"ports": [{"port": 80, "protocol": "ODD", "targetPort": "Bad_"}]})),
    (CORE + "services", named(spec={"type": "Odd", "ports": [{"port": 80}]})),
    (CORE + "services", named(spec={"type": "ExternalName"})),
    (CORE + "services", named(spec={"clusterIP": "x", "ports": [{"port": 80}]})),
    (CORE + "services", named(spec={"selector": {"a b": "c"}, "ports": [{"port": 80}]})),
    (CORE + "services", named(spec={"sessionAffinity": "Odd", "ports": [{"port": 80}]})),
    (CORE + "services", named(spec={"externalTrafficPolicy": "Local", "ports": [{"port": 80}]})),
    (CORE + "serviceaccounts", named("A b")),
    (CORE + "persistentvolumeclaims", named(spec={})),
    (
        CORE + "persistentvolumeclaims",
        named(spec={"accessModes": ["Odd"], "resources": {"requests": {"storage": "0"}}}),
    ),
    (CORE + "persistentvolumeclaims", named(spec={"accessModes": ["ReadWriteOnce"], "resources": {}})),
    (
        CORE + "limitranges",
        named(spec={"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}),
    ),
    (CORE + "limitranges", named(spec={"limits": [{"type": "Pod", "default": {"cpu": "2"}}]})),
    (CORE + "resourcequotas", named(spec={"hard": {"pods": "-1", "odd": "1"}})),
    (
        CORE + "resourcequotas",
        named(spec={"hard": {"services": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}),
    ),
    (CORE + "events", named(involvedObject={"namespace": "other"})),
    ("/api/v1/nodes", named("A b")),
    ("/api/v1/nodes", named(spec={"taints": [{"key": "a b", "effect": "Odd"}]})),
    (
        "/api/v1/nodes",
        named(spec={"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}),
    ),
    (
        "/api/v1/persistentvolumes",
        named(spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}),
    ),
    ("/apis/apps/v1/namespaces/default/deployments", workload(replicas=-1)),
    ("/apis/apps/v1/namespaces/default/deployments", workload(selector={"matchLabels": {"c": "d"}})),
    ("/apis/apps/v1/namespaces/default/deployments", workload(selector={})),
    ("/apis/apps/v1/namespaces/default/deployments", workload(strategy={"type": "Odd"})),
    (
        "/apis/apps/v1/namespaces/default/deployments",
        workload(strategy={"type": "Recreate", "rollingUpdate": {}}),
    ),
    ("/apis/apps/v1/namespaces/default/replicasets", workload(replicas=-1)),
    ("/apis/apps/v1/namespaces/default/statefulsets", workload(podManagementPolicy="Odd")),
    ("/apis/apps/v1/namespaces/default/daemonsets", workload(updateStrategy={"type": "Odd"})),
    ("/apis/batch/v1/namespaces/default/cronjobs", named(spec={"schedule": "x"})),
    (
        "/apis/batch/v1/namespaces/default/cronjobs",
        named(
            spec={
                "schedule": "* * * * *",
                "concurrencyPolicy": "Odd",
                "timeZone": "Nowhere",
                "jobTemplate": {},
            }
        ),
    ),
    ("/apis/batch/v1/namespaces/default/jobs", named(spec={})),
    (
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        named(spec={"leaseDurationSeconds": 0, "leaseTransitions": -1}),
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
        named(roleRef={"kind": "Odd", "name": ""}),
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
        named(roleRef={"kind": "Role", "name": "r"}, subjects=[{"kind": "Odd", "name": ""}]),
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        named(rules=[{"verbs": ["get"], "nonResourceURLs": ["x"]}]),
    ),
    ("/apis/storage.k8s.io/v1/storageclasses", named()),
    ("/apis/storage.k8s.io/v1/storageclasses", named(provisioner="a", reclaimPolicy="Odd")),
    (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        named(
            webhooks=[{"name": "a", "clientConfig": {}, "sideEffects": "Odd", "admissionReviewVersions": []}]
        ),
    ),
    (
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        named(
            webhooks=[
                {
                    "name": "a.b.c",
                    "clientConfig": {"url": "http://x"},
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "timeoutSeconds": 60,
                    "failurePolicy": "Odd",
                    "rules": [
                        {"operations": ["ODD"], "apiGroups": [], "apiVersions": ["v1"], "resources": ["pods"]}
                    ],
                }
            ]
        ),
    ),
]

TABLE = [(CORE + "pods", body) for body in PODS] + OTHERS

ONLY_SCHEMA = "is checked against its schema only", "nothing here acts on it"
DIFFERENT: list[tuple[str, Object, str, str]] = [
    (
        CORE + "pods",
        pod(securityContext={"sysctls": [{"name": "A B", "value": "x"}]}),
        "a pod's sysctls are not checked",
        "they are not set here",
    ),
    (
        CORE + "pods",
        pod(overhead={"cpu": "-1"}),
        "a pod's overhead is not checked",
        "there are no runtime classes here",
    ),
    (
        CORE + "pods",
        pod(hostUsers=False, hostPID=True),
        "hostUsers and hostPID may be set together",
        "both are ignored here",
    ),
    (
        CORE + "pods",
        container(resources={"requests": {"hugepages-2Mi": "1Mi"}}),
        "amounts of huge pages need not be whole pages",
        "huge pages are not given out here",
    ),
    (
        CORE + "pods",
        volume(nfs={"server": "", "path": "x"}),
        "sources of volumes that are not mounted here are checked for their schema only",
        "the pod waits, and its event says that they are not mounted",
    ),
    (
        CORE + "configmaps",
        {"metadata": {"name": "x", "finalizers": ["odd"]}},
        "finalizers need no domain",
        "custom resources may have such finalizers, and there is one rule for all kinds",
    ),
    (
        CORE + "podtemplates",
        named(template={"spec": {"containers": []}}),
        "PodTemplate " + ONLY_SCHEMA[0],
        ONLY_SCHEMA[1],
    ),
    (
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
        named(spec={"minAvailable": "200%"}),
        "PodDisruptionBudget " + ONLY_SCHEMA[0],
        ONLY_SCHEMA[1],
    ),
    (
        "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
        named(spec={}),
        "Ingress " + ONLY_SCHEMA[0],
        ONLY_SCHEMA[1],
    ),
    (
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
        named(spec={"policyTypes": ["Odd"]}),
        "NetworkPolicy " + ONLY_SCHEMA[0],
        ONLY_SCHEMA[1],
    ),
    (
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
        named(spec={"maxReplicas": 0}),
        "HorizontalPodAutoscaler " + ONLY_SCHEMA[0],
        ONLY_SCHEMA[1],
    ),
    (
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        named(addressType="Odd", endpoints=[]),
        "EndpointSlice " + ONLY_SCHEMA[0],
        ONLY_SCHEMA[1],
    ),
]


def label(entry: Any) -> str:
    return entry.rpartition("/")[2] if isinstance(entry, str) else str(entry.get("spec", entry))[:120]


def blamed(answer: Answer) -> tuple[int, str, set[tuple[str, str]]]:
    """Return status, reason and causes; how often a cause is told does not matter."""
    if answer.status < 400:
        return answer.status, "", set()
    status, reason, causes = answer.refusal
    return status, reason, set(causes)


@pytest.fixture(scope="module")
def ready(both: tuple[Server, Server]) -> tuple[Server, Server]:
    """Both servers, once pods have their account."""
    path = CORE + "serviceaccounts/default"
    until(lambda: all(server.get(path).status == 200 for server in both), "the namespaces' accounts")
    return both


@pytest.mark.parametrize(("path", "body"), TABLE, ids=label)
def test_both_blame_the_same(ready: tuple[Server, Server], path: str, body: Object) -> None:
    local, kubernetes = (server.post(path, body, query={"dryRun": "All"}) for server in ready)
    assert blamed(local) == blamed(kubernetes), kubernetes


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(path, body, marks=pytest.mark.differs(what, why=why))
        for path, body, what, why in DIFFERENT
    ],
    ids=label,
)
def test_both_would_blame_the_same(ready: tuple[Server, Server], path: str, body: Object) -> None:
    test_both_blame_the_same(ready, path, body)
