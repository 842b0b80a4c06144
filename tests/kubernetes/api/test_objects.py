"""Creating, reading, changing and deleting objects."""

from __future__ import annotations

from support.server import Server


def test_a_config_map_lives_its_life(server: Server, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    made = server.post(maps, {"metadata": {"name": "one"}, "data": {"a": "1"}})
    assert made.status == 201
    assert (made.body["kind"], made.body["apiVersion"]) == ("ConfigMap", "v1")
    assert server.get(f"{maps}/one").ok == made.body
    changed = server.put(f"{maps}/one", made.body | {"data": {"b": "2"}}).ok
    assert changed["data"] == {"b": "2"}
    assert int(changed["metadata"]["resourceVersion"]) > int(made.body["metadata"]["resourceVersion"])
    # The version that this replaces is gone.
    assert server.put(f"{maps}/one", made.body).refusal == (409, "Conflict", [])
    gone = server.delete(f"{maps}/one").ok
    assert (gone["kind"], gone["status"], gone["details"]["uid"]) == (
        "Status",
        "Success",
        made.body["metadata"]["uid"],
    )
    assert server.get(f"{maps}/one").refusal == (404, "NotFound", [])
