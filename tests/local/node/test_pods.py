"""Pods on a local node, from the API to the processes and back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hortator.kube.resources import CONFIG_MAPS, PODS, SECRETS, SERVICES
from support.local_nodes import LocalCluster, ended, existing_paths, local_cluster, marked, pod, running


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with local_cluster(tmp_path) as running_cluster:
        yield running_cluster


def state_of(obj: dict[str, Any], name: str = "main") -> dict[str, Any]:
    statuses = [*obj["status"].get("containerStatuses", ()), *obj["status"].get("initContainerStatuses", ())]
    found: dict[str, Any] = next(each["state"] for each in statuses if each["name"] == name)
    return found


def waiting_for(reason: str) -> Callable[[dict[str, Any]], bool]:
    def reached(obj: dict[str, Any]) -> bool:
        statuses = (obj.get("status") or {}).get("containerStatuses") or []
        return any((each["state"].get("waiting") or {}).get("reason") == reason for each in statuses)

    return reached


async def run_in(cluster: LocalCluster, name: str, script: str, stdin: bytes = b"") -> tuple[int, bytes]:
    session = await cluster.host.agents["local"].exec(
        await cluster.client.get(PODS, name, namespace="default"),
        "main",
        ["sh", "-c", script],
        stdin=True,
        tty=False,
    )

    async def feed() -> None:
        await session.write(stdin)
        await session.close_stdin()

    feeding = asyncio.create_task(feed())
    output = b"".join([data async for _, data in session.output()])
    code = await session.wait()
    await feeding
    await session.close()
    return code, output


@pytest.mark.parametrize(
    ("script", "phase", "code", "reason"),
    [
        ("true", "Succeeded", 0, "Completed"),
        ("exit 3", "Failed", 3, "Error"),
        ("kill -9 $$", "Failed", 137, "Error"),
    ],
)
async def test_exit_codes(cluster: LocalCluster, script: str, phase: str, code: int, reason: str) -> None:
    done = await cluster.run(pod("p", script))
    assert done["status"]["phase"] == phase
    terminated = state_of(done)["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (code, reason)


async def test_a_command_that_does_not_exist_is_a_start_error(cluster: LocalCluster) -> None:
    done = await cluster.run(pod("p", container={"command": ["no-such-program"]}))
    terminated = state_of(done)["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")
    assert '"no-such-program": executable file not found in $PATH' in terminated["message"]


async def test_a_container_without_command_is_not_created(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p"), namespace="default")
    seen = await cluster.until("p", waiting_for("CreateContainerError"))
    assert "no command specified" in state_of(seen)["waiting"]["message"]


async def test_streams_are_kept_apart_and_in_order(cluster: LocalCluster) -> None:
    await cluster.run(pod("p", "for i in 1 2 3; do echo out$i; done; echo err1 >&2"))
    assert sorted((await cluster.log("p")).split()) == [b"err1", b"out1", b"out2", b"out3"]
    assert await cluster.log("p", stream="Stdout") == b"out1\nout2\nout3\n"
    assert await cluster.log("p", stream="Stderr") == b"err1\n"
    await cluster.run(pod("q", "for i in 1 2 3; do echo out$i; done"))
    assert await cluster.log("q", tail_lines=2) == b"out2\nout3\n"


async def test_the_image_is_said_to_be_ignored_once(cluster: LocalCluster) -> None:
    await cluster.run(pod("p", "true"))
    assert cluster.events.reasons("p").count("HostFilesystem") == 1


async def test_volumes_appear_where_the_container_wants_them(cluster: LocalCluster) -> None:
    await cluster.client.create(
        CONFIG_MAPS,
        {"metadata": {"name": "c"}, "data": {"hostfile": "a slots=1\n", "run.sh": "echo ran"}},
        namespace="default",
    )
    await cluster.client.create(
        SECRETS,
        {"metadata": {"name": "s"}, "data": {"key": base64.b64encode(b"\xff\x00bytes").decode()}},
        namespace="default",
    )
    done = await cluster.run(
        pod(
            "p",
            "cat /etc/mpi/hostfile; sh /etc/mpi/run.sh; stat -Lc %a /srv/secret/key; od -An -tx1 /srv/secret/key;"
            " echo x > /scratch/f && cat /scratch/f; cat /brand/new/one; ls /var/run/secrets/kubernetes.io/serviceaccount",
            container={
                "volumeMounts": [
                    {"name": "c", "mountPath": "/etc/mpi"},
                    {"name": "s", "mountPath": "/srv/secret"},
                    {"name": "e", "mountPath": "/scratch"},
                    {"name": "c", "mountPath": "/brand/new/one", "subPath": "hostfile"},
                ]
            },
            volumes=[
                {"name": "c", "configMap": {"name": "c"}},
                {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o600}},
                {"name": "e", "emptyDir": {}},
            ],
        )
    )
    log = (await cluster.log("p")).decode()
    assert log.splitlines() == [
        "a slots=1",
        "ran",
        "600",
        " ff 00 62 79 74 65 73",
        "x",
        "a slots=1",
        "ca.crt",
        "namespace",
        "token",
    ]
    assert done["status"]["phase"] == "Succeeded"
    assert existing_paths("/etc/mpi", "/srv/secret", "/scratch", "/brand") == []


async def test_a_config_map_volume_follows_its_object(cluster: LocalCluster) -> None:
    await cluster.client.create(
        CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}}, namespace="default"
    )
    await cluster.client.create(
        PODS,
        pod(
            "p",
            "until [ -e /etc/cfg/b ]; do sleep 0.05; done; cat /etc/cfg/b",
            container={"volumeMounts": [{"name": "c", "mountPath": "/etc/cfg"}]},
            volumes=[{"name": "c", "configMap": {"name": "c"}}],
        ),
        namespace="default",
    )
    await cluster.until("p", running)
    await cluster.client.patch(CONFIG_MAPS, "c", {"data": {"b": "new"}}, namespace="default")
    await cluster.until("p", ended)
    assert await cluster.log("p") == b"new"


async def test_a_pod_waits_for_its_config_map(cluster: LocalCluster) -> None:
    await cluster.client.create(
        PODS,
        pod(
            "p",
            "echo $V; cat /etc/cfg/a",
            container={
                "volumeMounts": [{"name": "c", "mountPath": "/etc/cfg"}],
                "env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}],
            },
            volumes=[{"name": "c", "configMap": {"name": "late"}}],
        ),
        namespace="default",
    )
    await cluster.until("p", waiting_for("ContainerCreating"))
    await cluster.client.create(
        CONFIG_MAPS, {"metadata": {"name": "late"}, "data": {"a": "1"}}, namespace="default"
    )
    await cluster.until("p", ended)
    assert await cluster.log("p") == b"1\n1"
    assert any('configmap "late" not found' in text for text in cluster.events.messages("p", "FailedMount"))


async def test_an_environment_that_lacks_its_secret_is_a_config_error(cluster: LocalCluster) -> None:
    await cluster.client.create(
        PODS,
        pod("p", 'printf %s "$V"', container={"envFrom": [{"secretRef": {"name": "late"}}]}),
        namespace="default",
    )
    seen = await cluster.until("p", waiting_for("CreateContainerConfigError"))
    assert 'secret "late" not found' in state_of(seen)["waiting"]["message"]
    value = "$(HOME) `x`\n\ttwo 'lines' \udcff"
    data = {"V": base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()}
    await cluster.client.create(SECRETS, {"metadata": {"name": "late"}, "data": data}, namespace="default")
    await cluster.until("p", ended)
    assert await cluster.log("p") == value.encode("utf-8", "surrogateescape")


async def test_init_containers_and_a_sidecar_run_in_their_order(cluster: LocalCluster) -> None:
    shared = [{"name": "e", "mountPath": "/mnt/shared"}]

    def container(name: str, script: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "image": "i", "command": ["sh", "-c", script], "volumeMounts": shared, **more}

    manifest = pod(
        "p",
        "cat /mnt/shared/order; echo main >> /mnt/shared/order",
        container={"volumeMounts": shared},
        initContainers=[
            container("one", "echo one >> /mnt/shared/order"),
            container("beside", "echo beside >> /mnt/shared/order; exec sleep 1000", restartPolicy="Always"),
            container(
                "two",
                "until grep -q beside /mnt/shared/order; do sleep 0.01; done; echo two >> /mnt/shared/order",
            ),
        ],
        volumes=[{"name": "e", "emptyDir": {}}],
    )
    done = await cluster.run(manifest)
    assert (await cluster.log("p")).split() == [b"one", b"beside", b"two"]
    assert done["status"]["phase"] == "Succeeded"
    assert state_of(done, "beside")["terminated"]["exitCode"] == 143


async def test_a_container_that_fails_is_restarted_with_back_off(cluster: LocalCluster) -> None:
    await cluster.client.create(
        PODS, pod("p", "echo run; exit 1", restartPolicy="OnFailure"), namespace="default"
    )
    seen = await cluster.until("p", waiting_for("CrashLoopBackOff"))
    status = seen["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert (
        "back-off 10s restarting failed container=main pod=p_default" in status["state"]["waiting"]["message"]
    )
    assert seen["status"]["phase"] == "Running"
    assert await cluster.log("p", previous=True) == b"run\n"


async def test_exec_reaches_into_the_container(cluster: LocalCluster) -> None:
    await cluster.client.create(
        PODS,
        pod("p", "exec sleep 1000", container={"env": [{"name": "A", "value": "b"}]}),
        namespace="default",
    )
    await cluster.until("p", running)
    data = os.urandom(3_000_000)
    assert await run_in(cluster, "p", "cat", data) == (0, data)
    assert await run_in(cluster, "p", "hostname; echo $A; exit 5") == (5, b"p\nb\n")
    code, output = await run_in(cluster, "p", "kill -TERM $$")
    assert (code, output) == (143, b"")


async def test_exec_of_a_missing_command_says_so(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p", "exec sleep 1000"), namespace="default")
    seen = await cluster.until("p", running)
    session = await cluster.host.agents["local"].exec(seen, "main", ["nope"], stdin=False, tty=False)
    assert [data async for _, data in session.output()] == [
        b'exec: "nope": executable file not found in $PATH\n'
    ]
    assert await session.wait() == 127


async def test_a_terminal(cluster: LocalCluster) -> None:
    await cluster.client.create(PODS, pod("p", "exec sleep 1000"), namespace="default")
    seen = await cluster.until("p", running)
    script = ["sh", "-c", "tty >/dev/null && stty size && read line && echo got $line"]
    session = await cluster.host.agents["local"].exec(seen, "main", script, stdin=True, tty=True)
    await session.resize(100, 30)
    await session.write(b"hi\n")
    output = b"".join([data async for _, data in session.output()])
    assert output.split() == [b"30", b"100", b"hi", b"got", b"hi"] or b"got hi" in output
    assert await session.wait() == 0
    await session.close()


async def test_deleting_a_pod_ends_it_by_term_and_removes_it(cluster: LocalCluster) -> None:
    await cluster.client.create(
        PODS,
        pod("p", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"),
        namespace="default",
    )
    await cluster.until("p", running)
    follower = asyncio.create_task(cluster.log("p", follow=True))
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")
    assert await follower == b"up\nbye\n"


async def test_a_program_that_ignores_term_is_killed_with_its_daemons(cluster: LocalCluster) -> None:
    script = "trap '' TERM; (setsid sh -c 'echo up; exec sleep 1000' &) ; while :; do sleep 0.05; done"
    manifest = pod("p", script, container={"env": [{"name": "MARK", "value": (mark := uuid.uuid4().hex)}]})
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until("p", running)
    async with contextlib.aclosing(cluster.client.logs("default", "p", follow=True)) as chunks:
        assert await anext(chunks) == b"up\n"
    assert len(marked(mark)) >= 2
    await cluster.client.delete(PODS, "p", namespace="default", grace_seconds=1)
    await cluster.gone("p")
    assert marked(mark) == []


async def test_a_deadline_fails_the_pod(cluster: LocalCluster) -> None:
    done = await cluster.run(
        pod("p", "exec sleep 1000", activeDeadlineSeconds=1, terminationGracePeriodSeconds=1)
    )
    assert (done["status"]["phase"], done["status"]["reason"]) == ("Failed", "DeadlineExceeded")


async def test_the_termination_message_is_read(cluster: LocalCluster) -> None:
    done = await cluster.run(pod("p", "echo because > /dev/termination-log; exit 1"))
    assert state_of(done)["terminated"]["message"] == "because\n"
    done = await cluster.run(
        pod("q", "echo last words; exit 1", container={"terminationMessagePolicy": "FallbackToLogsOnError"})
    )
    assert state_of(done)["terminated"]["message"] == "last words\n"


async def test_probes_and_hooks(cluster: LocalCluster, tmp_path: Path) -> None:
    started = tmp_path / "started"
    manifest = pod(
        "p",
        "exec sleep 1000",
        container={
            "lifecycle": {
                "postStart": {"exec": {"command": ["touch", str(started)]}},
                "preStop": {"exec": {"command": ["touch", str(tmp_path / "stopped")]}},
            },
            "readinessProbe": {
                "exec": {"command": ["test", "-e", str(tmp_path / "ready")]},
                "periodSeconds": 1,
            },
        },
        terminationGracePeriodSeconds=5,
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    seen = await cluster.until("p", lambda obj: (obj.get("status") or {}).get("phase") == "Running")
    assert not running(seen)
    (tmp_path / "ready").touch()
    await cluster.until("p", running)
    assert started.exists()
    await cluster.client.delete(PODS, "p", namespace="default")
    await cluster.gone("p")
    assert (tmp_path / "stopped").exists()


async def test_a_failing_liveness_probe_restarts_the_container(cluster: LocalCluster) -> None:
    manifest = pod(
        "p",
        "exec sleep 1000",
        container={
            "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1},
        },
        restartPolicy="Always",
        terminationGracePeriodSeconds=1,
    )
    await cluster.client.create(PODS, manifest, namespace="default")
    await cluster.until(
        "p",
        lambda obj: (
            ((obj.get("status") or {}).get("containerStatuses") or [{}])[0].get("restartCount", 0) > 0
        ),
    )
    assert "Unhealthy" in cluster.events.reasons("p")


async def test_pods_find_each_other_by_name(cluster: LocalCluster) -> None:
    await cluster.client.create(
        SERVICES,
        {"metadata": {"name": "workers"}, "spec": {"clusterIP": "None", "selector": {"app": "w"}}},
        namespace="default",
    )
    await cluster.client.create(
        PODS,
        pod("w-0", "exec sleep 1000", hostname="w-0", subdomain="workers", metadata={"labels": {"app": "w"}}),
        namespace="default",
    )
    worker = await cluster.until("w-0", running)
    done = await cluster.run(
        pod(
            "p",
            "for n in w-0 w-0.workers w-0.workers.default.svc workers.default.svc.cluster.local localhost;"
            " do getent ahostsv4 $n | awk '{print $1; exit}'; done",
        )
    )
    ip = worker["status"]["podIP"]
    assert done["status"]["phase"] == "Succeeded"
    assert (await cluster.log("p")).decode().split() == [ip, ip, ip, ip, "127.0.0.1"]


async def test_a_pod_may_have_names_of_its_own(cluster: LocalCluster) -> None:
    script = "getent ahostsv4 db.example | awk '{print $1; exit}'"
    aliases = [{"ip": "127.9.9.9", "hostnames": ["db.example"]}]
    await cluster.run(pod("with", script, hostAliases=aliases))
    assert await cluster.log("with") == b"127.9.9.9\n"
    await cluster.run(pod("without", script))
    assert await cluster.log("without") == b""
    await cluster.client.delete(PODS, "with", namespace="default")
    await cluster.gone("with")
    assert [path.name for path in cluster.host.places.run.joinpath("hosts").iterdir()] == ["default"]


async def test_whole_cpus_are_owned_alone(cluster: LocalCluster) -> None:
    resources = {"requests": {"cpu": "1"}}
    for name in ("a", "b"):
        await cluster.client.create(
            PODS, pod(name, "exec sleep 1000", container={"resources": resources}), namespace="default"
        )
        await cluster.until(name, running)
    script = "taskset -pc $$ | sed 's/.*: //'; echo $HORT_CPUS"
    sets = [(await run_in(cluster, name, script))[1].decode().split() for name in ("a", "b")]
    assert sets[0] != sets[1]
    for affinity, declared in sets:
        assert affinity == declared
    done = await cluster.run(pod("c", "taskset -pc $$ | sed 's/.*: //'; echo ${HORT_CPUS-none}"))
    assert done["status"]["phase"] == "Succeeded"
    assert (await cluster.log("c")).split()[1] == b"none"


async def test_a_volume_that_is_not_supported_is_said_to_be(cluster: LocalCluster) -> None:
    await cluster.client.create(
        PODS,
        pod("p", "true", volumes=[{"name": "v", "nfs": {"server": "s", "path": "/p"}}]),
        namespace="default",
    )
    await cluster.until("p", waiting_for("ContainerCreating"))
    assert "not supported on a local node: nfs" in cluster.events.messages("p", "FailedMount")[0]


async def test_the_node_is_registered(cluster: LocalCluster) -> None:
    from hortator.kube.resources import LEASES, NODES

    await cluster.host.ready.wait()
    node = await cluster.client.get(NODES, "local")
    assert node["status"]["capacity"]["cpu"] == "2"
    ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "True"
    lease = await cluster.client.get(LEASES, "local", namespace="kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "local"
