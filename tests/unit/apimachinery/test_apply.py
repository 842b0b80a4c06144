import copy
import json
from datetime import UTC, datetime, timedelta

import pytest

from hortator.apimachinery.apply import LAST_APPLIED, ApplyConflict, apply, track_update
from hortator.apimachinery.fieldsets import decode, encode
from hortator.apimachinery.schema import compile_schema
from hortator.apimachinery.status import StatusError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PORTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["port", "protocol"],
    "items": {
        "type": "object",
        "properties": {
            "port": {"type": "integer"},
            "protocol": {"type": "string", "default": "TCP"},
            "name": {"type": "string"},
        },
    },
}
SCHEMA = compile_schema(
    {
        "type": "object",
        "properties": {
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"},
                    "image": {"type": "string"},
                    "args": {"type": "array", "items": {"type": "string"}},
                    "groups": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "ports": PORTS,
                    "selector": {
                        "type": "object",
                        "x-kubernetes-map-type": "atomic",
                        "additionalProperties": {"type": "string"},
                    },
                    "containers": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}, "image": {"type": "string"}},
                        },
                    },
                    "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        },
    }
)


def config(labels=None, **spec):
    obj = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}}
    if labels is not None:
        obj["metadata"]["labels"] = labels
    if spec:
        obj["spec"] = spec
    return obj


def applied(live, obj, manager="me", *, force=False, now=NOW, **options):
    before = copy.deepcopy(live)
    result = apply(live, obj, SCHEMA, manager=manager, force=force, api_version="x/v1", now=now, **options)
    assert live == before
    return result


def owners(obj):
    return {
        (entry["manager"], entry["operation"]): sorted(decode(entry["fieldsV1"]))
        for entry in obj["metadata"].get("managedFields", ())
    }


def entry(obj, manager):
    return next(each for each in obj["metadata"]["managedFields"] if each["manager"] == manager)


def without_fields(obj):
    return {key: value for key, value in obj.items() if key != "metadata"} | {
        "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    }


def test_the_first_apply_creates_the_object_and_owns_what_it_says():
    obj = applied(None, config({"l": "1"}, replicas=1, args=["a"], groups=["g"], selector={"s": "1"}))
    assert without_fields(obj) == config(
        {"l": "1"}, replicas=1, args=["a"], groups=["g"], selector={"s": "1"}
    )
    assert obj["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "x/v1",
            "time": "2026-01-02T03:04:05Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:l": {}}},
                "f:spec": {
                    "f:args": {},
                    "f:groups": {'v:"g"': {}},
                    "f:replicas": {},
                    "f:selector": {},
                },
            },
        }
    ]


def test_items_of_list_maps_are_fields_of_their_own():
    obj = applied(
        None, config(ports=[{"port": 80, "name": "http"}], containers=[{"name": "c", "image": "i"}])
    )
    assert entry(obj, "me")["fieldsV1"] == {
        "f:spec": {
            "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}},
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
        }
    }


def test_open_maps_are_granular_and_open_lists_atomic():
    obj = applied(None, config(open={"a": {"b": 1, "c": [1, {"d": 2}]}, "e": {}}))
    assert entry(obj, "me")["fieldsV1"] == {
        "f:spec": {"f:open": {"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:e": {}}}
    }


def test_applying_again_changes_nothing_and_keeps_the_time():
    first = applied(None, config(replicas=1))
    assert applied(first, config(replicas=1), now=LATER) == first


def test_a_change_moves_the_time():
    obj = applied(applied(None, config(replicas=1)), config(replicas=2), now=LATER)
    assert obj["spec"] == {"replicas": 2}
    assert entry(obj, "me")["time"] == "2026-01-02T04:04:05Z"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"replicas": 1, "image": "i"}, {"replicas": 1}, id="scalar"),
        pytest.param({"groups": ["a", "b"]}, {"groups": ["b"]}, id="set"),
        pytest.param(
            {"containers": [{"name": "a"}, {"name": "b"}]}, {"containers": [{"name": "b"}]}, id="item"
        ),
        pytest.param(
            {"containers": [{"name": "a", "image": "i"}]},
            {"containers": [{"name": "a"}]},
            id="field of an item",
        ),
        pytest.param({"selector": {"a": "1", "b": "2"}}, {"selector": {"b": "2"}}, id="atomic map"),
        pytest.param({"open": {"a": {"b": 1, "c": 2}}}, {"open": {"a": {"c": 2}}}, id="open map"),
        pytest.param({"args": ["a"], "replicas": 1}, {"replicas": 1}, id="atomic list"),
    ],
)
def test_what_is_no_longer_applied_is_removed(before, after):
    assert applied(applied(None, config(**before)), config(**after))["spec"] == after


def test_removing_the_last_field_removes_what_becomes_empty():
    obj = applied(applied(None, config({"l": "1"}, replicas=1)), config())
    assert without_fields(obj) == config()
    assert "managedFields" not in obj["metadata"]


def test_shared_fields_stay_until_the_last_owner_leaves():
    obj = applied(None, config(replicas=1, image="i"))
    obj = applied(obj, config(replicas=1), "other")
    assert ("f:spec", "f:replicas") in owners(obj)["other", "Apply"]
    obj = applied(obj, config(image="i"))
    assert obj["spec"] == {"replicas": 1, "image": "i"}
    obj = applied(obj, config(), "other")
    assert obj["spec"] == {"image": "i"}
    assert [manager for manager, _ in owners(obj)] == ["me"]


def test_a_conflict_names_every_field_and_manager():
    obj = applied(None, config(replicas=1, containers=[{"name": "c", "image": "i"}], groups=["g"]))
    obj["metadata"]["managedFields"] = [
        *obj["metadata"]["managedFields"],
        {
            "manager": "kubectl-edit",
            "operation": "Update",
            "apiVersion": "x/v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
    ]
    with pytest.raises(ApplyConflict) as error:
        applied(obj, config(replicas=2, containers=[{"name": "c", "image": "j"}]), "other")
    assert error.value.code == 409
    assert error.value.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "kubectl-edit" using x/v1:\n- .spec.replicas\n'
        'conflicts with "me":\n- .spec.containers[name="c"].image\n- .spec.replicas'
    )
    assert error.value.to_dict()["details"]["causes"][1] == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "me"',
        "field": '.spec.containers[name="c"].image',
    }


def test_one_conflict_is_said_in_one_line():
    obj = applied(None, config(replicas=1), subresource="scale")
    with pytest.raises(ApplyConflict) as error:
        applied(obj, config(replicas=2), "other")
    assert error.value.message == (
        'Apply failed with 1 conflict: conflict with "me" with subresource "scale": .spec.replicas'
    )


def test_force_takes_the_field_from_its_owner():
    obj = applied(None, config(replicas=1, image="i"))
    obj = applied(obj, config(replicas=2), "other", force=True)
    assert obj["spec"] == {"replicas": 2, "image": "i"}
    assert owners(obj) == {
        ("me", "Apply"): [("f:spec", "f:image")],
        ("other", "Apply"): [("f:spec", "f:replicas")],
    }


def test_equal_values_do_not_conflict():
    obj = applied(applied(None, config(replicas=1)), config(replicas=1), "other")
    assert set(owners(obj)) == {("me", "Apply"), ("other", "Apply")}


def test_items_of_others_survive():
    obj = applied(None, config(containers=[{"name": "a"}, {"name": "b"}], groups=["x"]))
    obj = applied(obj, config(containers=[{"name": "c"}], groups=["y"]), "other")
    assert obj["spec"] == {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "groups": ["x", "y"]}
    obj = applied(obj, config(), "other")
    assert obj["spec"] == {"containers": [{"name": "a"}, {"name": "b"}], "groups": ["x"]}


@pytest.mark.parametrize(
    ("live", "wanted", "merged"),
    [
        (["a", "b", "c"], ["c", "b", "a"], ["c", "b", "a"]),
        (["a", "x", "b"], ["b", "a"], ["x", "b", "a"]),
        (["a", "b"], ["b", "n", "a"], ["b", "n", "a"]),
        (["x", "a"], ["n", "a"], ["x", "n", "a"]),
    ],
)
def test_the_applied_order_wins_and_others_stay_beside_their_neighbours(live, wanted, merged):
    obj = applied(None, config(groups=live), "other")
    assert applied(obj, config(groups=wanted))["spec"]["groups"] == merged


def test_metadata_of_custom_resources_is_known():
    first = config()
    first["metadata"]["finalizers"] = ["a/b"]
    first["metadata"]["ownerReferences"] = [{"uid": "1", "name": "o"}]
    second = config()
    second["metadata"]["finalizers"] = ["c/d"]
    obj = applied(applied(None, first), second, "other")
    assert obj["metadata"]["finalizers"] == ["a/b", "c/d"]
    assert entry(obj, "me")["fieldsV1"]["f:metadata"] == {
        "f:finalizers": {'v:"a/b"': {}},
        "f:ownerReferences": {'k:{"uid":"1"}': {}},
    }


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (config(unknown=1), ".spec.unknown: field not declared in schema"),
        (config(groups=["a", "a"]), '.spec.groups: duplicate entries for key [="a"]'),
        (config(containers=[{"image": "i"}]), "omits all key fields"),
        (config(containers=[{"name": "a"}, {"name": "a"}]), 'duplicate entries for key [name="a"]'),
        (config() | {"apiVersion": "x/v2"}, "Specified patch version: x/v2, expected: x/v1"),
        (config() | {"metadata": {"managedFields": []}}, "metadata.managedFields must be nil"),
    ],
)
def test_what_cannot_be_applied_is_refused(obj, message):
    with pytest.raises(StatusError) as error:
        applied(None, obj)
    assert error.value.code == 400
    assert message in error.value.message


def test_reset_fields_are_not_owned():
    obj = applied(None, config(replicas=1) | {"status": {"ready": True}}, reset=[("status",)])
    assert owners(obj)["me", "Apply"] == [("f:spec", "f:replicas")]


def test_an_object_from_before_tracking_belongs_to_somebody():
    live = config(replicas=1, image="i")
    with pytest.raises(ApplyConflict, match="before-first-apply"):
        applied(live, config(replicas=2))
    obj = applied(live, config(replicas=1))
    assert ("f:spec", "f:image") in owners(obj)["before-first-apply", "Update"]


def test_kubectl_takes_over_from_client_side_apply():
    last = config(replicas=1)
    live = config(replicas=1)
    live["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(last)}
    live["metadata"]["managedFields"] = track_update(
        None, live, SCHEMA, manager="kubectl-client-side-apply", api_version="x/v1", now=NOW
    )
    obj = applied(live, config(replicas=2), "kubectl")
    assert obj["spec"] == {"replicas": 2}
    assert json.loads(obj["metadata"]["annotations"][LAST_APPLIED])["spec"] == {"replicas": 2}
    with pytest.raises(ApplyConflict):
        applied(live, config(replicas=2), "other")


def update(old, new, manager="you", *, now=NOW, **options):
    fields = track_update(old, new, SCHEMA, manager=manager, api_version="x/v1", now=now, **options)
    return {**new, "metadata": {**new["metadata"], "managedFields": fields}}


def test_creating_without_apply_is_tracked():
    obj = update(None, config({"l": "1"}, replicas=1))
    assert entry(obj, "you")["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
        "f:spec": {".": {}, "f:replicas": {}},
    }
    assert entry(obj, "you")["operation"] == "Update"


def test_an_update_takes_what_it_changes():
    obj = applied(None, config(replicas=1, image="i"))
    obj = update(obj, {**obj, "spec": {"replicas": 2, "image": "i"}}, now=LATER)
    assert owners(obj) == {
        ("me", "Apply"): [("f:spec", "f:image")],
        ("you", "Update"): [("f:spec", "f:replicas")],
    }
    assert entry(obj, "me")["time"] == "2026-01-02T03:04:05Z"
    assert entry(obj, "you")["time"] == "2026-01-02T04:04:05Z"


def test_an_update_that_removes_a_field_takes_it_from_everybody():
    obj = applied(None, config(replicas=1, image="i"))
    obj = update(obj, {**obj, "spec": {"image": "i"}})
    assert owners(obj) == {("me", "Apply"): [("f:spec", "f:image")]}


def test_an_update_without_change_leaves_the_times():
    obj = update(None, config(replicas=1))
    assert update(obj, obj, now=LATER) == obj


def test_status_is_tracked_per_subresource():
    obj = update(None, config(replicas=1))
    obj = update(obj, {**obj, "status": {"ready": True}}, subresource="status")
    assert [(each["manager"], each.get("subresource")) for each in obj["metadata"]["managedFields"]] == [
        ("you", None),
        ("you", "status"),
    ]


def test_tracking_can_be_reset_and_begins_again_with_apply():
    obj = update(None, config(replicas=1))
    obj["metadata"]["uid"] = "u"
    cleared = {**obj, "metadata": {**obj["metadata"], "managedFields": [{}]}, "spec": {"replicas": 2}}
    assert track_update(obj, cleared, SCHEMA, manager="you", api_version="x/v1", now=NOW) == []


def test_a_client_that_drops_the_entries_does_not_lose_them():
    obj = update(None, config(replicas=1))
    dropped = config(replicas=1)
    assert update(obj, dropped) == obj


def test_old_updaters_are_merged():
    obj = update(None, config(replicas=0), "m0")
    for index in range(1, 15):
        new = {**obj, "spec": {**obj["spec"], "open": {**obj["spec"].get("open", {}), f"k{index}": index}}}
        obj = update(obj, new, f"m{index}", now=NOW + timedelta(minutes=index))
    managers = [each["manager"] for each in obj["metadata"]["managedFields"]]
    assert len(managers) == 10
    assert managers[0] == "ancient-changes"
    assert managers[-1] == "m14"


@pytest.mark.parametrize(
    "fields",
    [
        {"f:a": {}},
        {"f:a": {".": {}, "f:b": {}}},
        {"f:l": {'k:{"a":"b","c":1}': {".": {}, "f:x": {}}, 'v:"z"': {}, "v:1": {}, "i:0": {}}},
    ],
)
def test_field_sets_survive_encoding(fields):
    assert encode(decode(fields)) == fields


@pytest.mark.parametrize("fields", [1, {"f:a": 1}, {"a": {}}, {"k:[": {}}, {"k:1": {}}])
def test_bad_field_sets_are_refused(fields):
    with pytest.raises(ValueError, match=r"fieldsV1|element"):
        decode(fields)
