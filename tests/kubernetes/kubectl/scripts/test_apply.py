"""kubectl apply, diff, replace, edit and patch."""

from __future__ import annotations

import pytest

from support.manifests import config, deployment, job, pod, service
from support.transcript import Compare, Script

SERVER = "apply --server-side -f -"


def labelled(name: str, **data: str) -> dict[str, object]:
    return config(name, {"set": "one"}, **data)


SCRIPTS: dict[str, Script] = {
    "apply on the client's side": [
        ("apply -f -", config("c", a="1", b="2")),
        ("apply -f -", config("c", a="1", b="2")),
        'patch configmap c --type=merge -p \'{"data":{"theirs":"x"}}\'',
        ("apply -f -", config("c", a="3")),
        "get configmap c -o yaml",
        "apply view-last-applied configmap c",
        "apply view-last-applied configmap/c -o json",
        ("apply -f - --dry-run=server -o yaml", config("c", a="4")),
        ("apply -f - --dry-run=client", config("c", a="4")),
        "get configmap c -o jsonpath='{.data}'",
        "create configmap plain --from-literal=a=1",
        "apply view-last-applied configmap plain",
        ("apply -f -", config("plain", b="2")),
        "get configmap plain -o yaml",
        ("> c.yaml", config("c", z="9")),
        "apply set-last-applied -f c.yaml",
        "apply view-last-applied configmap c",
        "create configmap other",
        ("> other.yaml", config("other", a="1")),
        "! apply set-last-applied -f other.yaml",
        "apply set-last-applied -f other.yaml --create-annotation",
        "KUBE_EDITOR='sed -i s/9/8/' apply edit-last-applied configmap c",
        "apply view-last-applied configmap c",
        ("apply -f - -o name", [config("l1"), config("l2")]),
        ("! apply -f -", config("Bad_Name")),
        ("! apply -f - --server-side --dry-run=client", config("c")),
        "! apply -f none.yaml",
        "! apply",
    ],
    "apply of templates": [
        ("apply -f -", deployment(replicas=0)),
        ("apply -f -", deployment(replicas=1)),
        ("apply -f -", deployment(replicas=1)),
        "set image deployment/d main=example.com/new:1",
        ("apply -f -", deployment(replicas=0)),
        "get deployment d -o jsonpath='{.spec}'",
        ("! apply -f -", deployment(selector={"matchLabels": {"other": "x"}})),
        ("apply -f -", job(backoffLimit=1)),
        ("! apply -f -", job(completionMode="Indexed", completions=2)),
        ("apply -f -", service()),
        ("! apply -f -", service(clusterIP="192.0.2.7")),
        ("apply -f -", pod()),
        ("! apply -f - --force --timeout=1s --dry-run=server", pod(nodeName="elsewhere")),
    ],
    "apply on the server's side": [
        (f"{SERVER} --field-manager=one", config("c", a="1", b="1")),
        (f"{SERVER} --field-manager=one", config("c", a="1", b="1")),
        (f"! {SERVER} --field-manager=two", config("c", a="2", b="2")),
        (f"{SERVER} --field-manager=two", config("c", a="1", d="1")),
        (f"{SERVER} --field-manager=two --force-conflicts", config("c", a="2")),
        "get configmap c -o yaml --show-managed-fields",
        (f"{SERVER} --field-manager=one", config("c")),
        "get configmap c -o yaml --show-managed-fields",
        (f"{SERVER} --dry-run=server -o yaml", config("new", a="1")),
        "! get configmap new",
        ("apply -f -", config("old", a="1")),
        (f"{SERVER}", config("old", a="2")),
        "get configmap old -o yaml --show-managed-fields",
        "label configmap old x=y --field-manager=z-labeller",
        (f"! {SERVER}", config("old", {"x": "z"}, a="2")),
        ("! apply --force-conflicts -f -", config("c")),
        (f"! {SERVER} --force", config("c")),
        (f"! {SERVER} --field-manager=one", config("", a="1")),
        (f"! {SERVER}", {**config("c"), "dta": {}}),
        (f"! {SERVER} --validate=ignore", {**config("ignored"), "dta": {}}),
        (f"! {SERVER} --validate=warn", {**config("warned"), "dta": {}}),
        (f"{SERVER} --field-manager=one", deployment(replicas=0)),
        "scale deployment d --replicas=1",
        (f"! {SERVER} --field-manager=one", deployment(replicas=0)),
        (f"{SERVER} --field-manager=one --force-conflicts", deployment(replicas=0)),
    ],
    "prune": [
        ("> all/a.json", labelled("a")),
        ("> all/b.json", labelled("b")),
        "apply -f all --prune -l set=one --prune-allowlist=core/v1/ConfigMap",
        ("> one/a.json", labelled("a", k="v")),
        "apply -f one --prune -l set=one --prune-allowlist=core/v1/ConfigMap --dry-run=server",
        "apply -f one --prune -l set=one --prune-allowlist=core/v1/ConfigMap",
        "get configmaps -l set=one -o name",
        "! apply -f one --prune",
        "! apply -f one --prune -l set=one --prune-allowlist=nonsense",
    ],
    "diff": [
        ("! diff -f -", config("c", a="1")),
        ("apply -f -", config("c", a="1")),
        ("diff -f -", config("c", a="1")),
        ("! diff -f -", config("c", a="2")),
        ("! diff --server-side -f -", config("c", a="1", b="2")),
        ("! diff --server-side --force-conflicts -f -", config("c", a="3")),
        ("! KUBECTL_EXTERNAL_DIFF='diff -q' diff -f - --concurrency=2", config("c", a="9")),
        "create secret generic s --from-literal=a=1",
        (
            "! diff -f -",
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "2"}},
        ),
        ("! diff -f -", config("Bad_Name")),
        ("! diff -f -", {"apiVersion": "v1", "kind": "Pood", "metadata": {"name": "x"}}),
        "! diff",
        "get configmap c -o jsonpath='{.data}'",
    ],
    "replace": [
        ("! replace -f -", config("c")),
        ("create -f -", config("c", a="1")),
        ("replace -f -", config("c", b="2")),
        ("replace -f - --dry-run=server -o yaml", config("c", e="2")),
        ("! replace -f -", {**config("c"), "metadata": {"name": "c", "resourceVersion": "1"}}),
        ("replace --force -f -", config("c", d="3")),
        ("replace --force -f -", config("fresh", d="3")),
        "get configmap c -o yaml",
        ("create -f -", job()),
        ("! replace -f -", job(completionMode="Indexed", completions=3)),
        ("! replace -f -", config("Bad_Name")),
        ("! replace --raw /api/v1/namespaces/$NAMESPACE/configmaps/c -f -", config("d")),
    ],
    "edit": [
        ("create -f -", config("c", color="red")),
        "KUBE_EDITOR='sed -i s/red/green/' edit configmap c",
        "KUBE_EDITOR=true edit configmap c",
        "KUBE_EDITOR='sed -i s/green/blue/' edit configmap c -o json --save-config",
        "get configmap c -o yaml",
        "! KUBE_EDITOR='sed -i s/name:.c/name:\\ x/' edit configmap c",
        "! KUBE_EDITOR=false edit configmap c",
        "! edit configmap none",
        "! edit",
        "! KUBE_EDITOR='sed -i /kind/d' edit configmap c",
        "! KUBE_EDITOR='sed -i s/color:/co[lor:/' edit configmap c",
        ("create -f -", pod()),
        "KUBE_EDITOR='sed -i s,image:1,image:2,' edit pod p",
        "get pod p -o jsonpath='{.spec.containers[0].image}'",
    ],
    "patch": [
        ("create -f -", [config("c", a="1"), pod(), deployment(), job()]),
        'patch configmap c -p \'{"data":{"b":"2"}}\'',
        'patch configmap c -p \'{"data":{"b":"2"}}\'',
        'patch configmap c --type=merge -p \'{"data":{"a":null}}\'',
        'patch configmap c --type=json -p \'[{"op":"add","path":"/metadata/annotations","value":{"x/y":"z"}}]\'',
        'patch configmap c --type=json -p \'[{"op":"copy","from":"/data/b","path":"/data/c"}]\' -o yaml',
        "patch configmap c -p 'data: {yaml: yes-it-is}' -o jsonpath='{.data}'",
        ("> p.yaml", "data: {file: f}"),
        "patch configmap c --patch-file=p.yaml --dry-run=server -o jsonpath='{.data}'",
        'patch configmap c -p \'{"data":{"local":"l"}}\' --dry-run=client',
        ('patch -f - -p \'{"data":{"from":"f"}}\'', config("c")),
        'patch pod p -p \'{"spec":{"containers":[{"name":"main","image":"new"}]}}\'',
        'patch pod p --subresource=status --type=merge -p \'{"status":{"phase":"Running"}}\' -o jsonpath=\'{.status}\'',
        'patch pod p --subresource=status --type=merge -p \'{"spec":{"nodeName":"x"}}\'',
        'patch deployment d --subresource=scale --type=merge -p \'{"spec":{"replicas":1}}\'',
        "get deployment d --subresource=scale -o yaml",
        "get deployment d --subresource=scale",
        'patch deployment d -p \'{"spec":{"template":{"spec":{"containers":[{"name":"second","image":"i"}]}}}}\'',
        "get deployment d -o jsonpath='{.spec.template.spec.containers[*].name}'",
        'patch configmap c --type=json -p \'[{"op":"replace","path":"/data/none","value":"1"}]\'',
        '! patch configmap c --type=merge -p \'{"data":{"bad key":"x"}}\'',
        "patch configmap c --type=merge -p '{\"dta\":{}}'",
        '! patch configmap c --type=merge -p \'{"metadata":{"name":"other"}}\'',
        '! patch configmap c --type=merge -p \'{"metadata":{"uid":"other"}}\'',
        '! patch configmap c --type=merge -p \'{"metadata":{"resourceVersion":"1"}}\'',
        "! patch configmap c --type=nonsense -p '{}'",
        "! patch configmap c",
        "! patch configmap none -p '{}'",
        "! patch pod p --subresource=nonsense -p '{}'",
        '! patch pod p --type=merge -p \'{"spec":{"containers":[]}}\'',
        '! patch job j -p \'{"spec":{"completionMode":"Indexed"}}\'',
        '! patch job j -p \'{"spec":{"backoffLimit":-1}}\'',
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_apply(compare: Compare, name: str) -> None:
    compare(SCRIPTS[name])


@pytest.mark.differs(
    "why a JSON patch does not apply",
    why="the local cluster names the operation; Kubernetes only says that one failed",
)
def test_json_patches_that_do_not_apply(compare: Compare) -> None:
    compare(
        [
            ("create -f -", config("c", b="1")),
            '! patch configmap c --type=json -p \'[{"op":"test","path":"/data/b","value":"x"}]\'',
            '! patch configmap c --type=json -p \'[{"op":"remove","path":"/data/none"}]\'',
            '! patch configmap c --type=json -p \'[{"op":"jump","path":"/data/a"}]\'',
            '! patch configmap c --type=json -p \'[{"op":"add","path":"/none/deep","value":1}]\'',
        ]
    )


@pytest.mark.differs(
    "the change that a pod refuses",
    why="Kubernetes shows Go's fields around it, the local cluster the field itself",
)
def test_changes_of_pods_that_are_refused(compare: Compare) -> None:
    compare(
        [
            ("create -f -", pod()),
            ("! apply -f -", pod(nodeName="elsewhere")),
            '! patch pod p -p \'{"spec":{"restartPolicy":"Never"}}\'',
        ]
    )


@pytest.mark.differs(
    "what is said of patches of the wrong form", why="the same refusals, without the words of Go's decoders"
)
def test_patches_of_the_wrong_form(compare: Compare) -> None:
    compare(
        [
            ("create -f -", [config("c", a="1"), deployment()]),
            '! patch configmap c -p \'{"data":{"a":{"b":1}}}\'',
            '! patch configmap c --type=merge -p \'{"kind":"Secret"}\'',
            '! patch deployment d -p \'{"spec":{"replicas":"three"}}\'',
            "! patch configmap c --type=json -p '{}'",
            "! patch configmap c --type=merge -p '{\"data\":[]}'",
            "! patch configmap c -p '{nonsense'",
        ]
    )
