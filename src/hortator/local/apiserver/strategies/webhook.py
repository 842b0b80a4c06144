"""Webhook configurations: defaults and validation. Calling the webhooks is admission's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from hortator.apimachinery.fielderrors import FieldError, Path, duplicate, invalid, not_supported, required
from hortator.apimachinery.meta import name_of
from hortator.apimachinery.names import dns1035_label, dns1123_subdomain, qualified_name
from hortator.local.apiserver.strategies.ages import age
from hortator.local.apiserver.strategies.base import AGE, NAME, Column, Object, Strategy
from hortator.local.apiserver.strategies.checks import check_choice, check_selector

__all__ = ["WebhookStrategy", "check_client", "check_review_versions"]

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
REVIEWS = ("v1", "v1beta1")


class WebhookStrategy(Strategy):
    """Behaviour of MutatingWebhookConfigurations and ValidatingWebhookConfigurations."""

    columns = (NAME, Column("Webhooks", "integer"), AGE)

    def default(self, obj: Object) -> Object:
        """Return the configuration with upstream's defaults."""
        if not obj.get("webhooks"):
            return obj
        mutating = self.kind.kind.startswith("Mutating")
        return {**obj, "webhooks": [_default(each, mutating=mutating) for each in obj["webhooks"]]}

    def validate_body(self, obj: Object) -> list[FieldError]:
        """Return what is wrong with a configuration."""
        errors: list[FieldError] = []
        seen: set[str] = set()
        for index, webhook in enumerate(obj.get("webhooks") or ()):
            here = Path("webhooks").index(index)
            name = webhook.get("name") or ""
            errors += _check(webhook, here)
            if name and name in seen:
                errors.append(duplicate(here.child("name"), name))
            seen.add(name)
        return errors

    def row(self, obj: Object, now: datetime) -> list[Any]:
        """Return the cells of a configuration."""
        return [name_of(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def _default(webhook: Object, *, mutating: bool) -> Object:
    result: Object = {
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
    }
    if mutating:
        result["reinvocationPolicy"] = "Never"
    result.update(webhook)
    if webhook.get("rules"):
        result["rules"] = [{"scope": "*", **rule} for rule in webhook["rules"]]
    client = webhook.get("clientConfig") or {}
    if client.get("service") is not None:
        result["clientConfig"] = {**client, "service": {"port": 443, **client["service"]}}
    return result


def _check(webhook: Object, path: Path) -> list[FieldError]:
    errors = _name(webhook.get("name") or "", path.child("name"))
    for index, rule in enumerate(webhook.get("rules") or ()):
        errors += _rule(rule, path.child("rules").index(index))
    for key, allowed in (
        ("failurePolicy", ("Fail", "Ignore")),
        ("matchPolicy", ("Equivalent", "Exact")),
        ("reinvocationPolicy", ("IfNeeded", "Never")),
    ):
        errors += check_choice(path.child(key), webhook.get(key), allowed, optional=True)
    effects = webhook.get("sideEffects")
    if effects is None:
        errors.append(required(path.child("sideEffects"), "must specify one of None, NoneOnDryRun"))
    elif effects not in ("None", "NoneOnDryRun"):
        errors.append(not_supported(path.child("sideEffects"), effects, ("None", "NoneOnDryRun")))
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        words = "the timeout value must be between 1 and 30 seconds"
        errors.append(invalid(path.child("timeoutSeconds"), seconds, words))
    for key in ("namespaceSelector", "objectSelector"):
        errors += check_selector(path.child(key), webhook.get(key))
    errors += check_client(webhook.get("clientConfig") or {}, path.child("clientConfig"))
    errors += _conditions(webhook.get("matchConditions") or (), path.child("matchConditions"))
    here = path.child("admissionReviewVersions")
    reviews = webhook.get("admissionReviewVersions") or ()
    return errors + check_review_versions(reviews, here, f"must specify one of {', '.join(REVIEWS)}")


def _name(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [required(path)]
    messages = dns1123_subdomain(name)
    if not messages and len(name.split(".")) < 3:
        messages = ["should be a domain with at least three segments separated by dots"]
    return [invalid(path, name, message) for message in messages]


def _rule(rule: Object, path: Path) -> list[FieldError]:
    operations = rule.get("operations") or []
    errors: list[FieldError] = []
    if not operations:
        errors.append(required(path.child("operations")))
    if len(operations) > 1 and "*" in operations:
        words = "if '*' is present, must not specify other operations"
        errors.append(invalid(path.child("operations"), operations, words))
    for index, operation in enumerate(operations):
        if operation not in OPERATIONS:
            errors.append(not_supported(path.child("operations").index(index), operation, OPERATIONS))
    for key, word in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(key) or []
        if not values:
            errors.append(required(path.child(key)))
        if len(values) > 1 and "*" in values:
            errors.append(
                invalid(path.child(key), values, f"if '*' is present, must not specify other {word}")
            )
    resources = rule.get("resources") or []
    if not resources:
        errors.append(required(path.child("resources")))
    if len(resources) > 1 and "*/*" in resources:
        words = "if '*/*' is present, must not specify other resources"
        errors.append(invalid(path.child("resources"), resources, words))
    scopes = ("*", "Cluster", "Namespaced")
    return errors + check_choice(path.child("scope"), rule.get("scope"), scopes, optional=True)


def check_client(client: Mapping[str, Any], path: Path) -> list[FieldError]:
    """Return what is wrong with where a webhook is said to be."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if service is not None:
        here = path.child("service")
        missing = [required(here.child(key)) for key in ("name", "namespace") if not service.get(key)]
        port = service.get("port")
        if port is not None and not 1 <= port <= 65535:
            words = "port is not valid: must be between 1 and 65535, inclusive"
            missing.append(invalid(here.child("port"), port, words))
        return missing
    here, parts = path.child("url"), urlsplit(str(url))
    form = "; desired format: https://host[/path]"
    errors: list[FieldError] = []
    if parts.scheme != "https":
        words = f"'https' is the only allowed URL scheme{form}"
        errors.append(invalid(here, parts.scheme, words))
    if not parts.netloc:
        errors.append(invalid(here, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None or parts.password is not None:
        errors.append(invalid(here, parts.username, "user information is not permitted in the URL"))
    if parts.fragment:
        errors.append(invalid(here, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        errors.append(invalid(here, parts.query, "query parameters are not permitted in the URL"))
    return errors


def _conditions(conditions: Sequence[Object], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        here = path.index(index)
        name = condition.get("name") or ""
        if not name:
            errors.append(required(here.child("name")))
        else:
            errors += [invalid(here.child("name"), name, message) for message in qualified_name(name)]
            if name in seen:
                errors.append(duplicate(here.child("name"), name))
        seen.add(name)
        if not (condition.get("expression") or "").strip():
            errors.append(required(here.child("expression")))
    return errors


def check_review_versions(versions: Sequence[str], path: Path, missing: str = "") -> list[FieldError]:
    """Return what is wrong with the versions of reviews that a webhook takes; ``missing`` is said when there are none."""
    if not versions:
        return [required(path, missing)]
    errors: list[FieldError] = []
    for index, version in enumerate(versions):
        if version in versions[:index]:
            errors.append(invalid(path.index(index), version, "duplicate version"))
        else:
            errors += [invalid(path.index(index), version, message) for message in dns1035_label(version)]
    if not set(versions) & set(REVIEWS):
        words = f"must include at least one of {', '.join(REVIEWS)}"
        errors.append(invalid(path, list(versions), words))
    return errors
