from __future__ import annotations

import pytest

from hortator.jobs.naming import MAX_NAME, check_name, name_for, next_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["./heat3d", "input.nml"], "heat3d"),
        (["/opt/My App/Solve_It.exe"], "solve-it"),
        (["python", "train.py"], "train"),
        (["python3.11", "-u", "-W", "ignore", "sub/pi.py", "10"], "pi"),
        (["python", "-m", "mpi4py.bench"], "mpi4py"),
        (["python", "-c", "print(1)"], "python"),
        (["bash", "-c", "echo"], "bash"),
        (["env", "A=b", "nice", "./run.sh"], "run"),
        (["sh"], "sh"),
        (["./3body"], "job-3body"),
        (["./___"], "job"),
        (["./" + "x" * 80], "x" * (MAX_NAME - 6)),
    ],
)
def test_a_job_is_named_after_its_program(command: list[str], name: str) -> None:
    assert name_for(command) == name
    assert check_name(next_name(name, ())) is None


@pytest.mark.parametrize(
    ("existing", "name"),
    [
        ([], "pi-1"),
        (["pi-1", "pi-2"], "pi-3"),
        (["pi-7", "other-9", "pi-x", "pi"], "pi-8"),
        (["pi-two-4", "api-5"], "pi-1"),
    ],
)
def test_names_count_up(existing: list[str], name: str) -> None:
    assert next_name("pi", existing) == name


@pytest.mark.parametrize("name", ["", "Pi", "1pi", "pi-", "p_i", "x" * (MAX_NAME + 1), "pi\n"])
def test_bad_names(name: str) -> None:
    assert check_name(name)
