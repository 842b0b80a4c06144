"""kubectl auth, certificate, config, and who may do what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.manifests import config, named
from support.transcript import Compare, Script

JANE = "--as=jane --as-group=team"
RBAC = "rbac.authorization.k8s.io/v1"
RULES = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]


def role(*verbs: str) -> dict[str, Any]:
    made = named("Role", "r", api=RBAC, rules=[{**RULES[0], "verbs": list(verbs)}])
    return {**made, "metadata": {"name": "r", "namespace": "$NAMESPACE"}}


def binding(user: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "User", "name": user, "apiGroup": group}]
    made = named("RoleBinding", "rb", api=RBAC, subjects=subjects)
    made["roleRef"] = {"kind": "Role", "name": "r", "apiGroup": group}
    return {**made, "metadata": {"name": "rb", "namespace": "$NAMESPACE"}}


SCRIPTS: dict[str, Script] = {
    "who one is and what one may do": [
        f"auth whoami {JANE}",
        f"auth whoami {JANE} -o yaml",
        "auth whoami --as=system:serviceaccount:$NAMESPACE:default",
        "auth whoami --as=jane --as-uid=7 --as-user-extra=a=b -o jsonpath='{.status.userInfo}'",
        "auth can-i get pods",
        f"! auth can-i get pods {JANE}",
        f"! auth can-i get pods {JANE} -q",
        f"! auth can-i '*' '*' {JANE}",
        f"! auth can-i get pods/log {JANE}",
        f"auth can-i get /healthz {JANE}",
        f"! auth can-i get pods {JANE} -A",
        f"! auth can-i list nodes {JANE}",
        "! auth can-i get pood --as=jane",
        "! auth can-i fly pods --as=jane",
        f"auth can-i --list {JANE}",
        "create role r --verb=get,list --resource=configmaps --resource-name=only",
        "create rolebinding rb --role=r --user=jane",
        f"auth can-i --list {JANE} --no-headers",
        f"auth can-i get configmaps/only {JANE}",
        f"! auth can-i get configmaps/other {JANE}",
        f"! auth can-i delete configmaps --subresource=x {JANE}",
        "! auth can-i",
        "! auth",
    ],
    "what is forbidden": [
        "create configmap c",
        *(
            f"! {line} {JANE}"
            for line in (
                "get configmap c",
                "get configmaps",
                "get configmaps -A",
                "get nodes",
                "create configmap d",
                "create namespace x",
                "delete configmap c",
                "delete configmaps --all",
                "label configmap c a=b",
                "patch configmap c -p '{}'",
                "scale deployment d --replicas=1",
                "create token default",
                "get --raw /metrics",
                "get configmaps --watch",
                "edit configmap c",
                "describe configmap c",
                "create rolebinding x --clusterrole=view --user=jane",
                "auth whoami --as-group=nonsense --token=wrong --as=",
            )
        ),
        ("! apply -f - --as=jane", config("c")),
        ("! apply --server-side -f - --as=jane", config("c")),
        ("! replace -f - --as=jane", config("c")),
        "create role imp --verb=impersonate --resource=users",
    ],
    "rights are not made out of nothing": [
        "create role roles --verb=create,update,patch,get --resource=roles.rbac.authorization.k8s.io",
        "create role binds --verb=create,get --resource=rolebindings.rbac.authorization.k8s.io",
        "create rolebinding a --role=roles --user=jane",
        "create rolebinding b --role=binds --user=jane",
        "! create role x --verb=get --resource=secrets --as=jane",
        "! create rolebinding x --clusterrole=view --user=jane --as=jane",
        f"! patch role roles --type=merge -p '{json.dumps({'rules': RULES})}' --as=jane",
        "create role same --verb=get --resource=roles.rbac.authorization.k8s.io --as=jane",
    ],
    "auth reconcile": [
        ("auth reconcile -f -", role("get", "list")),
        ("auth reconcile -f -", role("get", "list")),
        ("auth reconcile -f - --dry-run=client", role("watch")),
        ("auth reconcile -f -", role("delete")),
        "get role r -o jsonpath='{.rules}'",
        ("auth reconcile -f - --remove-extra-permissions", role("get")),
        "get role r -o jsonpath='{.rules}'",
        ("auth reconcile -f -", binding("jane")),
        ("auth reconcile -f -", binding("joe")),
        ("auth reconcile -f - --remove-extra-subjects", binding("joe")),
        "get rolebinding rb -o jsonpath='{.subjects}'",
    ],
    "config": [
        "KUBECONFIG=own config set-cluster c --server=https://192.0.2.1 --tls-server-name=x",
        "KUBECONFIG=own config set-credentials u --token=t",
        "KUBECONFIG=own config set-context ctx --cluster=c --user=u",
        "KUBECONFIG=own config use-context ctx",
        "KUBECONFIG=own config current-context",
        "KUBECONFIG=own config get-contexts",
        "KUBECONFIG=own config view",
        "KUBECONFIG=own config delete-context ctx",
        "KUBECONFIG=own config current-context",
        "! KUBECONFIG=own config use-context none",
        "! get pods --context=none",
        "! get pods --token=wrong --user=none",
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_access(compare: Compare, name: str) -> None:
    compare(SCRIPTS[name])
