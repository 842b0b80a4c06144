from __future__ import annotations

from typing import Any

import pytest

from hortator.api import mpijob as api
from hortator.operator.mpijob import objects
from hortator.operator.mpijob.settings import Settings
from support.builders import MPIJobBuilder, mpijob

SSH = Settings()
EXEC = Settings(launch_mode="exec", exec_agent="agent")


def _view(builder: MPIJobBuilder) -> api.MPIJob:
    return api.default(api.parse(builder.build()))


def _template(builder: MPIJobBuilder, settings: Settings = SSH) -> dict[str, Any]:
    template: dict[str, Any] = objects.launcher_job(_view(builder), settings, suspend=False)["spec"][
        "template"
    ]
    return template


def _main(spec: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = spec["containers"][0]
    return container


def test_everything_is_owned_by_the_job_and_found_by_our_label() -> None:
    job = _view(mpijob().workers(1))
    owner = {"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "name": "pi", "uid": "uid-pi"}
    made = [
        objects.service(job),
        objects.config_map(job, (), EXEC),
        objects.secret(job, b"x", b"y"),
        objects.service_account(job),
        objects.role(job),
        objects.role_binding(job),
        objects.worker(job, 0, EXEC),
        objects.launcher_job(job, EXEC, suspend=False),
    ]
    for obj in made:
        assert obj["metadata"]["ownerReferences"] == [
            {**owner, "controller": True, "blockOwnerDeletion": True}
        ]
        assert obj["metadata"]["labels"]["training.kubeflow.org/operator-name"] == "mpi-operator"
        assert obj["metadata"]["labels"]["training.kubeflow.org/job-name"] == "pi"


def test_the_names() -> None:
    job = _view(mpijob().workers(2))
    made = (objects.service(job), objects.config_map(job, (), SSH), objects.secret(job, b"", b""))
    assert [obj["metadata"]["name"] for obj in made] == ["pi", "pi-config", "pi-ssh"]
    assert objects.launcher_job(job, SSH, suspend=False)["metadata"]["name"] == "pi-launcher"
    assert objects.worker(job, 1, SSH)["metadata"]["name"] == "pi-worker-1"


@pytest.mark.parametrize("as_worker", [False, True])
def test_service(as_worker: bool) -> None:
    builder = mpijob().launcher_as_worker() if as_worker else mpijob()
    assert objects.service_spec(_view(builder)) == {
        "clusterIP": "None",
        "selector": {
            "training.kubeflow.org/operator-name": "mpi-operator",
            "training.kubeflow.org/job-name": "pi",
        },
        "publishNotReadyAddresses": as_worker,
    }


def test_a_worker_of_ssh_mode() -> None:
    pod = objects.worker(_view(mpijob().workers(2)), 1, SSH)
    spec = pod["spec"]
    assert pod["metadata"]["labels"]["training.kubeflow.org/job-role"] == "worker"
    assert pod["metadata"]["labels"]["training.kubeflow.org/replica-index"] == "1"
    assert (spec["hostname"], spec["subdomain"], spec["restartPolicy"]) == ("pi-worker-1", "pi", "Never")
    assert spec["dnsConfig"]["searches"] == ["pi.default.svc.cluster.local"]
    assert _main(spec)["command"] == ["/usr/sbin/sshd", "-De"]
    assert _main(spec)["env"] == [{"name": "K_MPI_JOB_ROLE", "value": "worker"}]
    assert _main(spec)["volumeMounts"] == [{"name": "ssh-auth", "mountPath": "/root/.ssh"}]
    assert spec["volumes"] == [
        {
            "name": "ssh-auth",
            "secret": {
                "secretName": "pi-ssh",
                "defaultMode": 0o600,
                "items": [
                    {"key": "ssh-privatekey", "path": "id_rsa"},
                    {"key": "ssh-publickey", "path": "id_rsa.pub"},
                    {"key": "ssh-publickey", "path": "authorized_keys"},
                ],
            },
        }
    ]


def test_another_ssh_path_sets_no_mode() -> None:
    job = _view(mpijob().workers(1).with_("spec.sshAuthMountPath", "/home/u/.ssh"))
    pod = objects.worker(job, 0, SSH)
    assert "defaultMode" not in pod["spec"]["volumes"][0]["secret"]
    assert _main(pod["spec"])["volumeMounts"][0]["mountPath"] == "/home/u/.ssh"


def test_a_launcher_of_ssh_mode() -> None:
    template = _template(mpijob().workers(2))
    spec = template["spec"]
    assert template["metadata"]["labels"]["training.kubeflow.org/job-role"] == "launcher"
    assert "training.kubeflow.org/replica-index" not in template["metadata"]["labels"]
    assert (spec["hostname"], spec["subdomain"], spec["restartPolicy"]) == ("pi-launcher", "pi", "OnFailure")
    assert [volume["name"] for volume in spec["volumes"]] == ["ssh-auth", "mpi-job-config"]
    assert spec["volumes"][1]["configMap"] == {
        "name": "pi-config",
        "items": [
            {"key": "hostfile", "path": "hostfile", "mode": 0o444},
            {"key": "discover_hosts.sh", "path": "discover_hosts.sh", "mode": 0o555},
        ],
    }
    assert [mount["mountPath"] for mount in _main(spec)["volumeMounts"]] == ["/root/.ssh", "/etc/mpi"]
    assert "serviceAccountName" not in spec


def test_the_launchers_job_takes_over_the_run_policy_but_its_ttl() -> None:
    builder = mpijob().policy(activeDeadlineSeconds=2, backoffLimit=3, ttlSecondsAfterFinished=1)
    spec = objects.launcher_job(_view(builder), SSH, suspend=True)["spec"]
    del spec["template"]
    assert spec == {
        "podReplacementPolicy": "Failed",
        "activeDeadlineSeconds": 2,
        "backoffLimit": 3,
        "suspend": True,
    }


def test_a_launcher_that_takes_ranks_is_number_zero() -> None:
    job = _view(mpijob().workers(1).launcher_as_worker())
    index = "training.kubeflow.org/replica-index"
    assert objects.launcher_template(job, SSH)["metadata"]["labels"][index] == "0"
    assert objects.worker(job, 0, SSH)["metadata"]["labels"][index] == "1"


def test_what_the_template_says_is_kept() -> None:
    builder = (
        mpijob()
        .workers(
            1,
            "/entrypoint.sh",
            env=[{"name": "A", "value": "1"}],
            volumeMounts=[{"name": "v", "mountPath": "/v"}],
        )
        .worker_spec(
            hostNetwork=True, volumes=[{"name": "v", "emptyDir": {}}], dnsConfig={"searches": ["a.b"]}
        )
        .with_(
            "spec.mpiReplicaSpecs.Worker.template.metadata", {"labels": {"l": "1"}, "annotations": {"a": "2"}}
        )
    )
    before = builder.build()
    pod = objects.worker(api.default(api.parse(before)), 0, SSH)
    assert before == builder.build(), "the template was changed"
    spec = pod["spec"]
    assert _main(spec)["command"] == ["/entrypoint.sh"]
    assert [each["name"] for each in _main(spec)["env"]] == ["A", "K_MPI_JOB_ROLE"]
    assert [each["name"] for each in _main(spec)["volumeMounts"]] == ["v", "ssh-auth"]
    assert [each["name"] for each in spec["volumes"]] == ["v", "ssh-auth"]
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert spec["dnsConfig"]["searches"] == ["a.b", "pi.default.svc.cluster.local"]
    assert pod["metadata"]["labels"]["l"] == "1"
    assert pod["metadata"]["annotations"] == {"a": "2"}


def test_other_containers_are_untouched() -> None:
    sidecar = {"name": "side", "image": "x"}
    builder = mpijob().launcher_spec(containers=[{"name": "main"}, sidecar])
    for settings in (SSH, EXEC):
        assert _template(builder, settings)["spec"]["containers"][1] is sidecar or (
            _template(builder, settings)["spec"]["containers"][1] == sidecar
        )


@pytest.mark.parametrize(
    ("command", "args", "idles"),
    [
        ((), None, True),
        (("/usr/sbin/sshd",), ["-De", "-f", "/home/mpiuser/.sshd_config"], True),
        (("sleep", "365d"), None, False),
        ((), ["serve"], False),
    ],
)
def test_a_worker_of_exec_mode_idles_unless_it_has_something_else_to_do(
    command: tuple[str, ...], args: list[str] | None, idles: bool
) -> None:
    builder = mpijob().workers(1, *command, **({"args": args} if args else {}))
    container = _main(objects.worker(_view(builder), 0, EXEC)["spec"])
    assert ("trap" in " ".join(container.get("command", ()))) is idles
    assert ("args" in container) is (args is not None and not idles)


def test_exec_mode_has_no_ssh_and_a_directory_private_to_each_pod() -> None:
    job = _view(mpijob().workers(1))
    for spec in (objects.worker(job, 0, EXEC)["spec"], objects.launcher_template(job, EXEC)["spec"]):
        assert "ssh-auth" not in str(spec)
        assert {"name": "hort-run", "emptyDir": {}} in spec["volumes"]
        assert {"name": "hort-run", "mountPath": "/run/hortator"} in _main(spec)["volumeMounts"]


def test_the_files_of_exec_mode() -> None:
    job = _view(mpijob().workers(1).slots(2))
    data = objects.config_data(job, [], EXEC)
    assert data["hostfile.hydra"] == "pi-worker-0.pi.default.svc:2\n"
    assert data["remote_shell.sh"] == '#!/bin/sh\nexec agent "$@"\n'
    items = objects.launcher_template(job, EXEC)["spec"]["volumes"][1]["configMap"]["items"]
    assert {item["key"] for item in items} == data.keys()
    assert {item["key"] for item in items if item["mode"] == 0o555} == {
        "discover_hosts.sh",
        "remote_shell.sh",
    }


def test_the_launcher_of_exec_mode_may_enter_its_own_workers_only() -> None:
    job = _view(mpijob().workers(2))
    names = ["pi-worker-0", "pi-worker-1"]
    assert objects.role(job)["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"], "resourceNames": names},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"], "resourceNames": names},
    ]
    assert objects.launcher_template(job, EXEC)["spec"]["serviceAccountName"] == "pi-launcher"
    assert objects.role_binding(job)["subjects"] == [
        {"kind": "ServiceAccount", "name": "pi-launcher", "namespace": "default"}
    ]


def test_without_workers_the_launcher_may_do_nothing() -> None:
    # An empty list of names would mean every pod.
    assert objects.role(_view(mpijob()))["rules"] == []


def test_an_account_that_the_template_names_is_used_and_gets_the_rights() -> None:
    job = _view(mpijob().workers(1).launcher_spec(serviceAccountName="mine"))
    assert objects.launcher_template(job, EXEC)["spec"]["serviceAccountName"] == "mine"
    assert objects.role_binding(job)["subjects"][0]["name"] == "mine"


def test_a_worker_of_exec_mode_has_the_remote_shell_and_no_other_file() -> None:
    spec = objects.worker(_view(mpijob().workers(1)), 0, EXEC)["spec"]
    config = next(each["configMap"] for each in spec["volumes"] if "configMap" in each)
    assert config["items"] == [{"key": "remote_shell.sh", "path": "remote_shell.sh", "mode": 0o555}]
    assert {"name": "mpi-job-config", "mountPath": "/etc/mpi"} in _main(spec)["volumeMounts"]


def test_a_run_directory_that_the_template_brings_is_used() -> None:
    volume = {"name": "hort-run", "emptyDir": {"medium": "Memory"}}
    mount = {"name": "hort-run", "mountPath": "/run/hortator"}
    job = _view(mpijob().workers(1, volumeMounts=[mount]).worker_spec(volumes=[volume]))
    spec = objects.worker(job, 0, EXEC)["spec"]
    assert [each for each in spec["volumes"] if each["name"] == "hort-run"] == [volume]
    assert [each for each in _main(spec)["volumeMounts"] if each["name"] == "hort-run"] == [mount]
