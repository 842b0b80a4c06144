"""Who may do what: the owner, service accounts with roles, tokens, strangers."""

from __future__ import annotations

import json

from support.kubectl import Kubectl, lines


def test_the_owner_may_do_everything(everywhere: Kubectl) -> None:
    assert everywhere("auth", "can-i", "*", "*", "--all-namespaces") == "yes\n"
    who = everywhere.json("auth", "whoami")["status"]["userInfo"]
    assert "system:masters" in who["groups"] and "system:authenticated" in who["groups"]


def test_a_service_account_may_do_what_its_role_says(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "reads", "--verb=get,list,watch", "--resource=configmaps")
    kubectl("create", "rolebinding", "reads", "--role=reads", f"--serviceaccount={kubectl.namespace}:reader")
    token = kubectl("create", "token", "reader").strip()
    name = f"system:serviceaccount:{kubectl.namespace}:reader"
    limited = kubectl.with_env(KUBECONFIG=str(_without_user(kubectl)))
    as_reader = ("--token", token)
    assert limited.json("auth", "whoami", *as_reader)["status"]["userInfo"]["username"] == name
    assert "kube-root-ca.crt" in limited("get", "configmaps", *as_reader)
    for words in (
        ("get", "secrets"),
        ("create", "configmap", "x"),
        ("get", "configmaps", "-n", "kube-system"),
    ):
        said = limited.refused(*words, *as_reader)
        assert "forbidden" in said and f'User "{name}" cannot' in said, said
    assert limited("auth", "can-i", "list", "configmaps", *as_reader) == "yes\n"
    assert limited.run("auth", "can-i", "delete", "configmaps", *as_reader).stdout.startswith(b"no")
    rules = lines(limited("auth", "can-i", "--list", *as_reader))
    assert ["configmaps", "[]", "[]", "[get", "list", "watch]"] in rules


def test_impersonation_shows_what_another_could_do(kubectl: Kubectl) -> None:
    other = ("--as", f"system:serviceaccount:{kubectl.namespace}:default")
    assert kubectl.run("auth", "can-i", "get", "pods", *other).stdout == b"no\n"
    assert "Forbidden" in kubectl.refused("get", "pods", *other)


def test_strangers_are_not_let_in(kubectl: Kubectl) -> None:
    stranger = kubectl.with_env(KUBECONFIG=str(_without_user(kubectl)))
    said = stranger.refused("get", "pods", "--token", "wrong")
    assert "Unauthorized" in said or "must be logged in" in said


def test_roles_cannot_be_used_to_gain_rights(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "climber")
    kubectl(
        "create", "role", "roles", "--verb=get,create,update", "--resource=roles.rbac.authorization.k8s.io"
    )
    kubectl("create", "rolebinding", "roles", "--role=roles", f"--serviceaccount={kubectl.namespace}:climber")
    climber = ("--as", f"system:serviceaccount:{kubectl.namespace}:climber")
    said = kubectl.refused("create", "role", "all", "--verb=get", "--resource=secrets", *climber)
    assert "attempting to grant RBAC permissions not currently held" in said


def _without_user(kubectl: Kubectl) -> object:
    """Write a kubeconfig that knows the cluster and nobody in it."""
    made = kubectl.json("config", "view", "--raw")
    made["users"] = []
    made["contexts"][0]["context"].pop("user")
    path = kubectl.home / f"{kubectl.namespace}.kubeconfig"
    path.write_text(json.dumps(made))
    path.chmod(0o600)
    return path
