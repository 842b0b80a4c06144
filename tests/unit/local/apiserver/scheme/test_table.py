from hortator.local.apiserver.scheme import load_scheme

SCHEME = load_scheme()


def test_a_kind_is_found_by_path_and_by_kind() -> None:
    job = SCHEME.find("batch", "v1", "jobs")
    assert job is not None
    assert job is SCHEME.by_kind("batch/v1", "Job")
    assert (job.singular, job.namespaced, job.categories, job.list_kind_name) == (
        "job",
        True,
        ("all",),
        "JobList",
    )


def test_unknown_paths_and_kinds_are_not_found() -> None:
    assert SCHEME.find("batch", "v1beta1", "jobs") is None
    assert SCHEME.by_kind("v1", "Job") is None


def test_subresources_carry_their_own_kind_and_verbs() -> None:
    deployment = SCHEME.find("apps", "v1", "deployments")
    assert deployment is not None
    scale = deployment.subresource("scale")
    assert scale is not None
    assert (scale.group, scale.version, scale.kind) == ("autoscaling", "v1", "Scale")
    assert deployment.subresource("exec") is None
    assert deployment.has_status()


def test_kinds_that_would_be_ignored_are_not_served() -> None:
    plurals = {kind.plural for kind in SCHEME.kinds()}
    assert "validatingadmissionpolicies" not in plurals
    assert "flowschemas" not in plurals
    assert "componentstatuses" not in plurals


def test_every_kind_has_a_definition_and_a_wire_form() -> None:
    for kind in SCHEME.kinds():
        assert SCHEME.definition(kind.definition)["type"] == "object"
        assert SCHEME.has_message(kind.definition)


def test_bodies_that_are_no_resource_have_a_definition() -> None:
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
    assert SCHEME.definition_name("batch/v1", "DeleteOptions") == meta
    assert SCHEME.definition_name("policy/v1", "Eviction") == "io.k8s.api.policy.v1.Eviction"
    assert SCHEME.definition_name("v1", "Nonsense") is None


def test_schemas_take_absent_and_null_fields() -> None:
    kind = SCHEME.find("", "v1", "pods")
    assert kind is not None
    schema = SCHEME.schema(kind)
    assert schema.validate({"spec": {"containers": [{"name": None}]}}) == []
    assert schema is SCHEME.schema(kind)


def test_the_table_is_loaded_once() -> None:
    assert load_scheme() is SCHEME
