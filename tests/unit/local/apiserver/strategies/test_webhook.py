from typing import Any

import pytest

from support.strategies import cells, created, named, refused

GROUP = "admissionregistration.k8s.io"
MUTATING, VALIDATING = f"mutatingwebhookconfigurations.{GROUP}", f"validatingwebhookconfigurations.{GROUP}"
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


def configuration(**webhook: Any) -> dict[str, Any]:
    base = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9443/x"},
        "rules": [RULE],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return named("w", webhooks=[{**base, **webhook}])


def test_defaults_of_a_webhook() -> None:
    (webhook,) = created(MUTATING, configuration())["webhooks"]
    assert (webhook["failurePolicy"], webhook["matchPolicy"], webhook["timeoutSeconds"]) == (
        "Fail",
        "Equivalent",
        10,
    )
    assert (webhook["namespaceSelector"], webhook["objectSelector"]) == ({}, {})
    assert webhook["reinvocationPolicy"] == "Never"
    assert webhook["rules"][0]["scope"] == "*"
    (webhook,) = created(VALIDATING, configuration())["webhooks"]
    assert "reinvocationPolicy" not in webhook


def test_a_service_listens_on_443() -> None:
    service = {"service": {"name": "s", "namespace": "n"}}
    (webhook,) = created(VALIDATING, configuration(clientConfig=service))["webhooks"]
    assert webhook["clientConfig"]["service"]["port"] == 443


@pytest.mark.parametrize(
    ("change", "start"),
    [
        (
            {"name": "a.b"},
            'webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments',
        ),
        (
            {"sideEffects": None},
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
        ),
        ({"sideEffects": "Some"}, 'webhooks[0].sideEffects: Unsupported value: "Some"'),
        (
            {"timeoutSeconds": 31},
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and",
        ),
        (
            {"failurePolicy": "Maybe"},
            'webhooks[0].failurePolicy: Unsupported value: "Maybe": supported values: "Fail"',
        ),
        ({"admissionReviewVersions": []}, "webhooks[0].admissionReviewVersions: Required value"),
        (
            {"admissionReviewVersions": ["v9"]},
            'webhooks[0].admissionReviewVersions: Invalid value: ["v9"]: must include',
        ),
        (
            {"clientConfig": {}},
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ),
        (
            {"clientConfig": {"url": "http://a/b"}},
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the",
        ),
        (
            {"rules": [{**RULE, "operations": ["*", "CREATE"]}]},
            "webhooks[0].rules[0].operations: Invalid value",
        ),
        ({"rules": [{**RULE, "apiGroups": []}]}, "webhooks[0].rules[0].apiGroups: Required value"),
        ({"matchConditions": [{"name": "a"}]}, "webhooks[0].matchConditions[0].expression: Required value"),
    ],
)
def test_one_thing_wrong_is_one_error(change: dict[str, Any], start: str) -> None:
    (error,) = refused(VALIDATING, configuration(**change))
    assert error.startswith(start)


def test_names_of_webhooks_are_unique() -> None:
    (webhook,) = configuration()["webhooks"]
    assert refused(VALIDATING, named("w", webhooks=[webhook, webhook])) == [
        'webhooks[1].name: Duplicate value: "a.example.com"'
    ]


def test_columns() -> None:
    assert cells(MUTATING, configuration())["Webhooks"] == 1
