from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hortator.api.mpijob_crd import crd

VERSION = crd()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def _walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from _walk(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _walk(schema[key], f"{path}[]")


def test_the_defaults_are_upstreams_and_no_others() -> None:
    defaults = {path: each["default"] for path, each in _walk(SCHEMA) if "default" in each}
    assert defaults == {
        ".spec.slotsPerWorker": 1,
        ".spec.runLauncherAsWorker": False,
        ".spec.sshAuthMountPath": "/root/.ssh",
        ".spec.launcherCreationPolicy": "AtStartup",
        ".spec.mpiImplementation": "OpenMPI",
        ".spec.runPolicy.suspend": False,
    }


def test_it_is_structural() -> None:
    for path, each in _walk(SCHEMA):
        assert "type" in each or each.get("x-kubernetes-int-or-string"), path


def test_it_fits_a_client_side_apply_with_room_to_spare() -> None:
    assert len(json.dumps(crd())) < 16_384


def test_it_serves_status_and_scale() -> None:
    assert VERSION["subresources"]["status"] == {}
    assert VERSION["subresources"]["scale"]["specReplicasPath"] == ".spec.mpiReplicaSpecs.Worker.replicas"
    assert crd()["spec"]["names"]["shortNames"] == ["mj"]


def test_its_columns() -> None:
    names = [column["name"] for column in VERSION["additionalPrinterColumns"]]
    assert names == ["Age", "State", "Workers", "Launcher"]
