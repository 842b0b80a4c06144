from support.strategies import cells, created, named, refused, strategy

NAMESPACES = strategy("namespaces")


def test_a_new_namespace_is_active_named_by_a_label_and_held() -> None:
    made = created("namespaces", named("team"))
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}


def test_the_label_cannot_be_taken_away() -> None:
    assert NAMESPACES.default(named("team", metadata={"labels": {"kubernetes.io/metadata.name": "x"}}))[
        "metadata"
    ]["labels"] == {"kubernetes.io/metadata.name": "team"}


def test_an_update_keeps_finalizers_and_status() -> None:
    old = created("namespaces", named("team"))
    assert NAMESPACES.prepare_update(named("team", spec={}), old)["spec"] == old["spec"]


def test_finalizers_end_through_their_own_path() -> None:
    old = created("namespaces", named("team"))
    done = NAMESPACES.prepare_subresource("finalize", {**old, "spec": {}, "status": {"phase": "Gone"}}, old)
    assert done["spec"] == {}
    assert done["status"] == old["status"]


def test_names_have_no_dots() -> None:
    (error,) = refused("namespaces", named("a.b"))
    assert error == 'metadata.name: Invalid value: "a.b": must not contain dots'


def test_the_phase_is_shown_and_selectable() -> None:
    made = created("namespaces", named("team"))
    assert cells("namespaces", made)["Status"] == "Active"
    assert NAMESPACES.fields(made)["status.phase"] == "Active"
