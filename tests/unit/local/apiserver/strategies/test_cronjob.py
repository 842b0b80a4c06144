from typing import Any

import pytest

from support.strategies import CREATED, cells, created, named, refused, template

CRONJOBS = "cronjobs.batch"


def cronjob(**spec: Any) -> dict[str, Any]:
    jobs = {"spec": {"template": template(restartPolicy="Never")}}
    return named("nightly", spec={"schedule": "0 3 * * *", "jobTemplate": jobs, **spec})


def test_a_bare_cronjob_gets_its_policies_and_leaves_the_jobs_to_the_job() -> None:
    spec = created(CRONJOBS, cronjob())["spec"]
    assert (spec["concurrencyPolicy"], spec["suspend"]) == ("Allow", False)
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert set(spec["jobTemplate"]["spec"]) == {"template"}


@pytest.mark.parametrize(
    "schedule", ["*/5 * * * *", "0 0 1,15 jan-mar mon", "@hourly", "@every 1h30m", "5-10/2 ? * * 0"]
)
def test_good_schedules(schedule: str) -> None:
    assert refused(CRONJOBS, cronjob(schedule=schedule)) == []


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("* * *", "expected exactly 5 fields, found 3"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", "failed to parse int from x: x"),
        ("@often", "unrecognized descriptor: @often"),
        ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
    ],
)
def test_bad_schedules(schedule: str, words: str) -> None:
    (error,) = refused(CRONJOBS, cronjob(schedule=schedule))
    assert error.startswith("spec.schedule: Invalid value:")
    assert words in error


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ({"schedule": ""}, "spec.schedule: Required value"),
        ({"timeZone": "Mars/Base"}, 'spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base'),
        (
            {"timeZone": "Local"},
            'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone',
        ),
        ({"concurrencyPolicy": "No"}, 'spec.concurrencyPolicy: Unsupported value: "No"'),
        ({"startingDeadlineSeconds": -1}, "spec.startingDeadlineSeconds: Invalid value: -1"),
    ],
)
def test_one_thing_wrong_is_one_error(spec: dict[str, Any], start: str) -> None:
    (error,) = refused(CRONJOBS, cronjob(**spec))
    assert error.startswith(start)


def test_the_name_leaves_room_for_the_jobs() -> None:
    given = cronjob()
    given["metadata"]["name"] = "a" * 53
    (error,) = refused(CRONJOBS, given)
    assert error.endswith("must be no more than 52 characters")


def test_columns() -> None:
    made = {**created(CRONJOBS, cronjob()), "status": {"active": [{}], "lastScheduleTime": CREATED}}
    row = cells(CRONJOBS, made)
    assert (row["Schedule"], row["Timezone"], row["Suspend"]) == ("0 3 * * *", "<none>", "False")
    assert (row["Active"], row["Last Schedule"], row["Images"]) == (1, "2m", "busybox")
