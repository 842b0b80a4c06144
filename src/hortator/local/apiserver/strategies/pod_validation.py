"""Validation of a pod's spec as a whole, of pod templates, and of changes to a pod.

Rules, paths and words are upstream's (``core/validation``, 1.36).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hortator.apimachinery.fielderrors import FieldError, Path, forbidden, invalid, not_supported, required
from hortator.apimachinery.names import (
    dns1123_label,
    dns1123_subdomain,
    in_range,
    qualified_name,
    validate_annotations,
    validate_labels,
)
from hortator.local.apiserver.strategies.checks import check_choice, check_ip, check_name
from hortator.local.apiserver.strategies.pod_containers import check_containers, check_resources
from hortator.local.apiserver.strategies.pod_quality import qos_class
from hortator.local.apiserver.strategies.pod_scheduling import (
    check_added_tolerations,
    check_affinity,
    check_gates,
    check_removed_gates,
    check_spreading,
    check_tolerations,
)
from hortator.local.apiserver.strategies.pod_volumes import check_volumes

__all__ = [
    "check_ephemeral_update",
    "check_pod",
    "check_pod_spec",
    "check_pod_update",
    "check_resize",
    "check_template",
]

Object = Mapping[str, Any]

SPEC = Path("spec")
MAXIMUM = 2**31 - 1
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
CHANGEABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)


def check_pod(pod: Object) -> list[FieldError]:
    """Return what is wrong with a new pod outside its metadata."""
    spec = pod.get("spec") or {}
    errors = check_pod_spec(spec, SPEC)
    errors += _only_for_pods(spec)
    if spec.get("ephemeralContainers"):
        errors.append(forbidden(SPEC.child("ephemeralContainers"), "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        words = "cannot be set until all schedulingGates have been cleared"
        errors.append(forbidden(SPEC.child("nodeName"), words))
    return errors


def check_template(template: Object, path: Path) -> list[FieldError]:
    """Return what is wrong with a pod template."""
    metadata = template.get("metadata") or {}
    errors = validate_labels(metadata.get("labels") or {}, path.child("labels"))
    errors += validate_annotations(metadata.get("annotations") or {}, path.child("annotations"))
    spec = template.get("spec") or {}
    errors += check_pod_spec(spec, path.child("spec"))
    if spec.get("ephemeralContainers"):
        words = "ephemeral containers not allowed in pod template"
        errors.append(forbidden(path.child("spec", "ephemeralContainers"), words))
    return errors


def _only_for_pods(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes") or ()):
            for at, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if source.get("serviceAccountToken") is not None:
                    here = SPEC.child("volumes").index(index).child("projected", "sources").index(at)
                    words = "must not be specified when serviceAccountName is not set"
                    errors.append(forbidden(here.child("serviceAccountToken"), words))
    return errors


def check_pod_spec(spec: Object, path: Path) -> list[FieldError]:
    """Return what is wrong with a pod's spec, in upstream's order."""
    volumes, errors = check_volumes(spec.get("volumes") or (), path.child("volumes"))
    errors += _claims(spec, path.child("resourceClaims"))
    errors += check_containers(spec, volumes, path)
    if spec.get("resources"):
        errors += check_resources(spec["resources"], path.child("resources"), container=False)
    errors += _host_network(spec, path)
    policies = ("Always", "OnFailure", "Never")
    errors += check_choice(path.child("restartPolicy"), spec.get("restartPolicy"), policies)
    errors += check_choice(path.child("dnsPolicy"), spec.get("dnsPolicy"), DNS_POLICIES)
    errors += validate_labels(spec.get("nodeSelector") or {}, path.child("nodeSelector"))
    errors += _security(spec, path.child("securityContext"))
    errors += check_affinity(spec.get("affinity") or {}, path.child("affinity"))
    errors += _dns(spec, path.child("dnsConfig"))
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        here = path.child("readinessGates").index(index).child("conditionType")
        name = gate.get("conditionType") or ""
        errors += [invalid(here, name, message) for message in qualified_name(name)]
    errors += check_gates(spec.get("schedulingGates") or (), path.child("schedulingGates"))
    spreading = spec.get("topologySpreadConstraints") or ()
    errors += check_spreading(spreading, path.child("topologySpreadConstraints"))
    for key, rule in NAMES:
        errors += check_name(path.child(key), spec.get(key) or "", rule, optional=True)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        here = path.child("activeDeadlineSeconds")
        errors += [invalid(here, deadline, message) for message in in_range(deadline, 1, MAXIMUM)]
    errors += check_tolerations(spec.get("tolerations") or (), path.child("tolerations"))
    errors += _host_aliases(spec, path.child("hostAliases"))
    preemption = ("PreemptLowerPriority", "Never")
    errors += check_choice(
        path.child("preemptionPolicy"), spec.get("preemptionPolicy"), preemption, optional=True
    )
    system = spec.get("os")
    if system is not None:
        errors += check_choice(path.child("os"), system.get("name"), ("linux", "windows"))
    return errors


NAMES = (
    ("serviceAccountName", dns1123_subdomain),
    ("nodeName", dns1123_subdomain),
    ("hostname", dns1123_label),
    ("subdomain", dns1123_label),
    ("priorityClassName", dns1123_subdomain),
    ("runtimeClassName", dns1123_subdomain),
)


def _claims(spec: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, claim in enumerate(spec.get("resourceClaims") or ()):
        here = path.index(index)
        errors += check_name(here.child("name"), claim.get("name") or "", dns1123_label)
        if claim.get("resourceClaimName") and claim.get("resourceClaimTemplateName"):
            words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(invalid(here, claim, words))
        elif not claim.get("resourceClaimName") and not claim.get("resourceClaimTemplateName"):
            words = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(required(here, words))
    return errors


def _host_network(spec: Object, path: Path) -> list[FieldError]:
    if not spec.get("hostNetwork"):
        return []
    errors: list[FieldError] = []
    for key in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            for at, port in enumerate(container.get("ports") or ()):
                host = port.get("hostPort")
                if host and host != port.get("containerPort"):
                    here = path.child(key).index(index).child("ports").index(at).child("hostPort")
                    words = "must match `containerPort` when `hostNetwork` is true"
                    errors.append(invalid(here, host, words))
    return errors


def _security(spec: Object, path: Path) -> list[FieldError]:
    context = spec.get("securityContext") or {}
    errors: list[FieldError] = []
    for key in ("fsGroup", "runAsUser", "runAsGroup"):
        number = context.get(key)
        if number is not None:
            errors += [invalid(path.child(key), number, text) for text in in_range(number, 0, MAXIMUM)]
    for index, number in enumerate(context.get("supplementalGroups") or ()):
        here = path.child("supplementalGroups").index(index)
        errors += [invalid(here, number, text) for text in in_range(number, 0, MAXIMUM)]
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        words = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid(path.child("shareProcessNamespace"), True, words))
    return errors


def _dns(spec: Object, path: Path) -> list[FieldError]:
    config = spec.get("dnsConfig") or {}
    servers = config.get("nameservers") or ()
    errors: list[FieldError] = []
    if spec.get("dnsPolicy") == "None":
        if not spec.get("dnsConfig"):
            words = "must provide `dnsConfig` when `dnsPolicy` is None"
            return [required(path, words)]
        if not servers:
            words = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(path.child("nameservers"), words)]
    if len(servers) > 3:
        words = "must not have more than 3 nameservers"
        errors.append(invalid(path.child("nameservers"), list(servers), words))
    for index, server in enumerate(servers):
        errors += check_ip(path.child("nameservers").index(index), server)
    for index, search in enumerate(config.get("searches") or ()):
        name = search.removesuffix(".").replace("_", "-")
        here = path.child("searches").index(index)
        errors += [invalid(here, search, message) for message in dns1123_subdomain(name) if name]
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(required(path.child("options").index(index), "must not be empty"))
    return errors


def _host_aliases(spec: Object, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = path.index(index)
        errors += check_ip(here.child("ip"), alias.get("ip") or "")
        for at, name in enumerate(alias.get("hostnames") or ()):
            where = here.child("hostnames").index(at)
            errors += [invalid(where, name, message) for message in dns1123_subdomain(name)]
    return errors


# --- changes --------------------------------------------------------------------------------------


def check_pod_update(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with a change of a pod: almost nothing of a spec may change."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after == before:
        return []
    errors = check_pod_spec(after, SPEC) + _only_for_pods(after)
    for key in ("containers", "initContainers"):
        if len(after.get(key) or ()) != len(before.get(key) or ()):
            return [*errors, forbidden(SPEC.child(key), "pod updates may not add or remove containers")]
        for index, container in enumerate(after.get(key) or ()):
            if not container.get("image"):
                errors.append(required(SPEC.child(key).index(index).child("image")))
    errors += _deadline(after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    tolerations = after.get("tolerations") or (), before.get("tolerations") or ()
    if tolerations[0] != tolerations[1]:
        errors += check_added_tolerations(*tolerations, SPEC.child("tolerations"))
    errors += check_removed_gates(
        after.get("schedulingGates") or (), before.get("schedulingGates") or (), SPEC.child("schedulingGates")
    )
    munged = _munged(after, before)
    if before.get("schedulingGates"):
        errors += _gated(munged, before)
    if munged != before:
        words = f"pod updates may not change fields other than {','.join(CHANGEABLE)}\n{_difference(before, munged)}"
        errors.append(forbidden(SPEC, words))
    return errors


def check_ephemeral_update(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with a change of the ephemeral containers, which can only be added to."""
    path = SPEC.child("ephemeralContainers")
    after = {each.get("name"): each for each in (new.get("spec") or {}).get("ephemeralContainers") or ()}
    errors = check_pod_spec(new.get("spec") or {}, SPEC)
    for container in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in after:
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif after[name] != container:
            words = f'existing ephemeral containers "{name}" may not be changed\n'
            errors.append(forbidden(path, words + _difference(container, after[name])))
    return errors


def check_resize(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with a change of the resources of a running pod (KEP-1287)."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    errors = check_pod_spec(after, SPEC)
    if qos_class(after) != (old.get("status") or {}).get("qosClass", qos_class(before)):
        words = "Pod QOS Class may not change as a result of resizing"
        errors.append(invalid(SPEC, qos_class(after), words))
    for key in ("containers", "initContainers"):
        for index, (container, was) in enumerate(
            zip(after.get(key) or (), before.get(key) or (), strict=False)
        ):
            here = SPEC.child(key).index(index).child("resources")
            for part in ("requests", "limits"):
                now_asked = (container.get("resources") or {}).get(part) or {}
                asked = (was.get("resources") or {}).get(part) or {}
                for name in sorted({*now_asked, *asked}):
                    if now_asked.get(name) != asked.get(name) and name not in ("cpu", "memory"):
                        words = "only cpu and memory resources are mutable"
                        errors.append(forbidden(here.child(part).key(name), words))
                    elif name not in now_asked:
                        words = f"resource {part} cannot be removed"
                        errors.append(forbidden(here.child(part).key(name), words))
    return errors


def _deadline(new: int | None, old: int | None) -> list[FieldError]:
    here = SPEC.child("activeDeadlineSeconds")
    if new is None:
        if old is None:
            return []
        return [invalid(here, None, "must not update from a positive integer to nil value")]
    if not 0 <= new <= MAXIMUM:
        return [invalid(here, new, message) for message in in_range(new, 0, MAXIMUM)]
    if old is not None and old < new:
        return [invalid(here, new, "must be less than or equal to previous value")]
    return []


def _munged(after: Object, before: Object) -> dict[str, Any]:
    """Return the new spec with everything that may change taken from the old one."""
    result = dict(after)
    for key in ("containers", "initContainers"):
        if after.get(key):
            result[key] = [
                {**container, "image": old.get("image")}
                for container, old in zip(after[key], before[key], strict=True)
            ]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        result.pop(key, None)
        if key in before:
            result[key] = before[key]
    grace = before.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and after.get("terminationGracePeriodSeconds") == 1:
        result["terminationGracePeriodSeconds"] = grace
    return result


def _gated(munged: dict[str, Any], before: Object) -> list[FieldError]:
    """Allow what a gated pod may still narrow down: its node selector and node affinity (KEP-3838)."""
    errors: list[FieldError] = []
    new, old = munged.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if new != old:
        if any(new.get(key) != value for key, value in old.items()):
            words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            errors.append(invalid(SPEC.child("nodeSelector"), new, words))
        munged.pop("nodeSelector", None)
        if "nodeSelector" in before:
            munged["nodeSelector"] = before["nodeSelector"]
    affinity = munged.get("affinity") or {}
    old_affinity = before.get("affinity") or {}
    if affinity.get("nodeAffinity") != old_affinity.get("nodeAffinity"):
        errors += _narrowed(affinity.get("nodeAffinity") or {}, old_affinity.get("nodeAffinity") or {})
        rest = {key: value for key, value in affinity.items() if key != "nodeAffinity"}
        if "nodeAffinity" in old_affinity:
            rest["nodeAffinity"] = old_affinity["nodeAffinity"]
        munged.pop("affinity", None)
        if rest or "affinity" in before:
            munged["affinity"] = rest
    return errors


def _narrowed(new: Object, old: Object) -> list[FieldError]:
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    path = SPEC.child("affinity", "nodeAffinity", key, "nodeSelectorTerms")
    before = (old.get(key) or {}).get("nodeSelectorTerms") or ()
    if not before:
        return []
    after = (new.get(key) or {}).get("nodeSelectorTerms") or ()
    if len(after) != len(before):
        words = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        return [invalid(path, list(after), words)]
    words = "only additions are allowed (no mutations or deletions)"
    errors = []
    for index, (term, previous) in enumerate(zip(after, before, strict=True)):
        for part in ("matchExpressions", "matchFields"):
            found = term.get(part) or []
            if any(item not in found for item in previous.get(part) or ()):
                errors.append(invalid(path.index(index).child(part), found, words))
    return errors


def _difference(before: Object, after: Object) -> str:
    """Return the changed top-level fields, as lines with ``-`` and ``+``."""
    lines = []
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            for sign, side in (("-", before), ("+", after)):
                if key in side:
                    lines.append(f"{sign} {key}: {json.dumps(side[key], sort_keys=True)}")
    return "\n".join(lines)


def check_restart_policy(template: Object, path: Path, allowed: tuple[str, ...]) -> list[FieldError]:
    """Require one of the restart policies that a controller can work with."""
    policy = (template.get("spec") or {}).get("restartPolicy")
    return [] if policy in allowed else [not_supported(path.child("spec", "restartPolicy"), policy, allowed)]
