"""Whether a container that has ended runs again, and after what pause. Pure.

The rules are the kubelet's: the pod's policy, a container's own (KEP-5307), and a back-off between restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["next_backoff", "pause", "should_restart"]

#: Seconds; upstream's first pause, its longest, and how long a container must have run to be trusted again.
BACKOFF_FIRST = 10.0
BACKOFF_MAX = 300.0
BACKOFF_RESET = 600.0

Object = Mapping[str, Any]


def should_restart(spec: Object, container: Object, exit_code: int) -> bool:
    """Whether a container of a pod with this spec is started again after this exit code.

    An init container that has succeeded is done whatever this says.
    """
    own = container.get("restartPolicy")
    if own and any(_matches(rule, exit_code) for rule in container.get("restartPolicyRules") or ()):
        return True
    policy = own or spec.get("restartPolicy", "Always")
    return bool(policy == "Always" or (policy == "OnFailure" and exit_code != 0))


def _matches(rule: Object, exit_code: int) -> bool:
    codes = rule.get("exitCodes") or {}
    return bool(codes) and (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In")


def next_backoff(backoff: float, lasted: float) -> float:
    """Return the back-off of the start after the next: 10 s, doubling to five minutes; ``lasted`` is the last run."""
    if backoff and lasted <= BACKOFF_RESET:
        return min(backoff * 2, BACKOFF_MAX)
    return BACKOFF_FIRST


def pause(backoff: float, lasted: float) -> float:
    """Return the seconds between the end of a run and the next: none after a run that earned trust again."""
    return backoff if lasted <= BACKOFF_RESET else 0.0
