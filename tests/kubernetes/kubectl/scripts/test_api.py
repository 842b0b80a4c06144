"""kubectl explain, api-resources, api-versions, version and completion."""

from __future__ import annotations

import re

import pytest

from support.transcript import Compare, Script

#: The kinds' names as one writes them; the API groups that both servers have.
EXPLAINED = [
    *("pod", "pod.spec", "pod.spec.containers", "pod.spec.containers.resources.limits", "pod.spec.affinity"),
    *(
        "job.spec",
        "job.spec.template.metadata",
        "job.spec.backoffLimit",
        "cronjob.spec",
        "deployment.spec.strategy",
    ),
    *(
        "configmap",
        "configmap.data",
        "secret.type",
        "service.spec.ports",
        "node.status",
        "namespace",
        "event",
    ),
    *(
        "role.rules",
        "clusterrolebinding",
        "lease.spec",
        "pvc.spec",
        "pv.spec.hostPath",
        "quota",
        "limits.spec",
    ),
    *(
        "ingress.spec.rules",
        "networkpolicy.spec",
        "priorityclass",
        "storageclass",
        "hpa.spec.metrics",
        "pdb.spec",
    ),
    *(
        "crd.spec.versions",
        "validatingwebhookconfiguration.webhooks",
        "tokenreview",
        "selfsubjectaccessreview.spec",
    ),
]
GROUPS = [
    "",
    "apps",
    "batch",
    "coordination.k8s.io",
    "events.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
]
MORE_GROUPS = ["rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "authentication.k8s.io"]

SCRIPTS: dict[str, Script] = {
    "explain what is not there": [
        "! explain pod.spec.typo",
        "! explain pod.spec.containers.image.deeper",
        "! explain pood",
        "! explain pod --api-version=none/v1",
        "! explain",
        "! explain pod extra",
        "! explain pod --output=nonsense",
    ],
    "api-resources": [
        *(f"api-resources --api-group={group} -o wide" for group in [*GROUPS[1:], *MORE_GROUPS]),
        "api-resources --api-group=batch --no-headers",
        "api-resources --api-group=batch -o name --sort-by=kind",
        "api-resources --api-group=apps --namespaced=false",
        "api-resources --api-group=apps --verbs=list,create --namespaced=true -o json",
        "api-resources --api-group=none.example",
        "api-resources --categories=all",
        "api-resources --api-group=apps --cached -o yaml",
        "! api-resources --sort-by=nonsense",
        "! api-resources -o nonsense",
        "! api-resources extra",
        "! api-versions extra",
    ],
    "completion": [
        "__complete get confi",
        "__complete get configmaps kube-",
        "__complete explain pod.spec.cont",
        "__complete get pods --namesp",
        "__complete get -n $NAMESPACE",
        "__complete describe cronj",
        "__complete logs ''",
        "! completion nonsense",
    ],
    "other words": [
        "! nonsense",
        "! get-pods",
        "! version --output=nonsense",
        "version --client -o yaml",
        "cluster-info",
        "! logs none",
        "! logs",
        "! exec none -- true",
        "! exec",
        "! attach none",
        "! cp none:/a b",
        "! cp a b",
        "! port-forward none 80",
        "! port-forward pod/none",
        "! debug none",
        "! debug none --image=i",
        "! certificate approve none",
        "! certificate deny none",
        "! convert",
    ],
    "raw": [
        "get --raw /healthz",
        "get --raw /readyz",
        "get --raw /livez/ping",
        "! get --raw /nonsense",
        "! get --raw /apis/batch/v2",
        "! get --raw /api/v1/namespaces/$NAMESPACE/configmaps/none",
        "! delete --raw /api/v1/namespaces/$NAMESPACE/configmaps/none",
        ("! create --raw /api/v1/namespaces/$NAMESPACE/configmaps -f -", '{"metadata":{}}'),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_api(compare: Compare, name: str) -> None:
    compare(SCRIPTS[name])


EXPLAIN: Script = [
    *(f"explain {path}" for path in EXPLAINED),
    "explain job.spec --recursive",
    "explain configmap --recursive",
    "explain deployments --api-version=apps/v1",
    "explain hpa --api-version=autoscaling/v2",
]
#: Which kind, which version, which field of which type, without the prose.
FACT = re.compile(r"(\$|exit|stderr|GROUP:|KIND:|VERSION:|FIELD:| *\S+\t<)")


def test_explain_names_fields_and_types(compare: Compare) -> None:
    said = compare(EXPLAIN, only=FACT.match)
    assert "  backoffLimit\t<integer>" in said and "FIELD: backoffLimit <integer>" in said


@pytest.mark.differs(
    "prose and allowed words in explain", why="the API's description is not part of the local cluster"
)
def test_explain_tells_what_fields_are_for(compare: Compare) -> None:
    compare(["explain job.spec.completionMode"])


@pytest.mark.differs(
    "kubectl explain --output=plaintext-openapiv2",
    why="/openapi/v2 does not describe the kinds as that old form needs",
)
def test_explain_in_its_old_form(compare: Compare) -> None:
    said = compare(["explain job.spec --output=plaintext-openapiv2"], only=FACT.match)
    assert "exit code 0" in said
