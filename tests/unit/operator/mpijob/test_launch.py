from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hortator.api import mpijob as api
from hortator.operator.mpijob import launch
from hortator.operator.mpijob.settings import Settings
from support.builders import MPIJobBuilder, mpijob

SSH = Settings()
EXEC = Settings(launch_mode="exec", exec_agent="agent")
ARGS = "-o ConnectionAttempts=10"
BLANK = [("NVIDIA_VISIBLE_DEVICES", ""), ("NVIDIA_DRIVER_CAPABILITIES", "")]


def _view(builder: MPIJobBuilder) -> api.MPIJob:
    return api.default(api.parse(builder.build()))


@pytest.mark.parametrize(
    ("implementation", "expected"),
    [
        (
            "OpenMPI",
            [
                ("OMPI_MCA_orte_keep_fqdn_hostnames", "true"),
                ("OMPI_MCA_orte_default_hostfile", "/etc/mpi/hostfile"),
                ("OMPI_MCA_plm_rsh_args", ARGS),
                ("OMPI_MCA_orte_set_default_slots", "3"),
                ("PRTE_MCA_prte_default_hostfile", "/etc/mpi/hostfile"),
                ("PRTE_MCA_plm_ssh_args", ARGS),
                ("PRTE_MCA_prte_set_default_slots", "3"),
            ],
        ),
        (
            "Intel",
            [
                ("I_MPI_HYDRA_HOST_FILE", "/etc/mpi/hostfile"),
                ("I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS", ARGS),
                ("I_MPI_PERHOST", "3"),
            ],
        ),
        (
            "MPICH",
            [
                ("HYDRA_HOST_FILE", "/etc/mpi/hostfile"),
                ("HYDRA_LAUNCH_EXTRA_ARGS", ARGS),
                ("HYDRA_LAUNCHER_EXTRA_ARGS", ARGS),
            ],
        ),
    ],
)
def test_ssh_mode(implementation: str, expected: list[tuple[str, str]]) -> None:
    job = _view(mpijob().workers(1).slots(3).implementation(implementation))
    assert list(launch.launcher_env(job, SSH)) == [("K_MPI_JOB_ROLE", "launcher"), *expected, *BLANK]


def test_a_launcher_that_takes_ranks_keeps_its_gpus() -> None:
    env = dict(launch.launcher_env(_view(mpijob().launcher_as_worker()), SSH))
    assert not env.keys() & dict(BLANK).keys()


def test_exec_mode_tells_every_mpi_of_the_agent() -> None:
    env = dict(launch.launcher_env(_view(mpijob().workers(2).slots(2)), EXEC))
    agents = {"OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent", "HYDRA_LAUNCHER_EXEC"}
    agents.add("I_MPI_HYDRA_BOOTSTRAP_EXEC")
    assert {env[name] for name in agents} == {"/etc/mpi/remote_shell.sh"}
    assert (
        env["PRTE_MCA_prte_default_hostfile"] == env["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    )
    assert env["HYDRA_HOST_FILE"] == env["I_MPI_HYDRA_HOST_FILE"] == "/etc/mpi/hostfile.hydra"
    assert env["PRTE_MCA_odls_base_max_threads"] == "0"  # else daemons lose the end of ranks that end at once


@pytest.mark.parametrize("implementation", ["MPICH", "Intel"])
def test_exec_mode_for_a_named_hydra_uses_the_hostfile_itself(implementation: str) -> None:
    env = dict(launch.launcher_env(_view(mpijob().workers(2).implementation(implementation)), EXEC))
    assert env["HYDRA_HOST_FILE"] == env["I_MPI_HYDRA_HOST_FILE"] == "/etc/mpi/hostfile"
    assert not any("hostfile" in name and name.startswith(("PRTE", "OMPI")) for name in env)


def test_sessions_of_both_roles_are_in_the_pods_own_directory() -> None:
    launcher = dict(launch.launcher_env(_view(mpijob().workers(1)), EXEC))
    worker = dict(launch.worker_env(EXEC))
    for env in (launcher, worker):
        assert env["PRTE_MCA_prte_tmpdir_base"] == env["HORT_RUN_DIR"] == "/run/hortator"
    assert worker["OMPI_MCA_orte_tmpdir_base"] == "/run/hortator"
    # mpirun hands its own on to the daemons; two that share a directory on one host disturb each other.
    assert not any(name.startswith("OMPI_MCA_orte_") and "tmpdir" in name for name in launcher)


def test_the_clusters_own_settings_come_last() -> None:
    settings = Settings(launcher_env={"OMPI_MCA_btl": "^ofi"})
    assert launch.launcher_env(_view(mpijob()), settings)[-1] == ("OMPI_MCA_btl", "^ofi")


def test_a_variable_of_the_users_is_left_alone() -> None:
    user = [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "X", "value": "1"},
    ]
    assert launch.merge_env(user, [("B", "2"), ("X", "9"), ("B", "3")]) == [
        *user,
        {"name": "B", "value": "3"},
    ]


@pytest.mark.parametrize("root", [True, False])
def test_only_root_is_allowed_to_run_as_root(root: bool) -> None:
    env = launch.local_machine_env(root=root)
    names = {f"{family}_ALLOW_RUN_AS_ROOT{end}" for family in ("PRTE", "OMPI") for end in ("", "_CONFIRM")}
    assert names & env.keys() == (names if root else set())


@pytest.mark.timeout(20)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at children in /proc")
def test_an_idle_worker_ends_at_once_on_term() -> None:
    with subprocess.Popen(launch.IDLE_COMMAND, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not any(
            Path(f"/proc/{child}/comm").read_text() == "sleep\n" for child in children.read_text().split()
        ):
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
        # End-of-file: nothing holds the pipe, so the sleeping child has gone too.
        assert process.stdout.read() == b""


def test_the_agents_script_runs_our_remote_shell_whatever_the_job_has_in_its_environment() -> None:
    settings = Settings(launch_mode="exec", exec_agent=launch.agent_command())
    script = launch.remote_shell_script(settings)
    env = {**os.environ, "PYTHONHOME": "/nowhere", "LD_PRELOAD": "/nowhere.so", "PYTHONPATH": "/nowhere"}
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh"], env=env, capture_output=True, text=True, check=False
    )
    assert sys.executable in script
    assert done.returncode == 255
    assert "usage" in done.stderr


def test_exec_mode_without_an_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="exec_agent"):
        Settings(launch_mode="exec")
