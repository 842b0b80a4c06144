"""The sentences about pods that found no place, in the words of kube-scheduler."""

from __future__ import annotations

from collections import Counter

from hortator.local.scheduler.fit import Verdicts

__all__ = ["NO_NODES", "fit_message", "truncated"]

NO_NODES = "no nodes available to schedule pods"
#: The longest note that an Event takes.
LONGEST = 1024


def fit_message(total: int, verdicts: Verdicts, *, before: str = "", after: str = "") -> str:
    """Return ``0/3 nodes are available: 1 Insufficient cpu, ….``.

    ``before`` is a sentence about the pod itself that stands in place of the nodes' reasons, ``after`` one
    that follows them.
    """
    parts = [f"0/{total} nodes are available:"]
    if before:
        parts.append(f"{before}.")
    else:
        counts = Counter(reason.text for verdict in verdicts.values() for reason in verdict)
        if counts:
            # Upstream sorts the finished strings, so "10 …" comes before "2 …".
            parts.append(", ".join(sorted(f"{count} {text}" for text, count in counts.items())) + ".")
    if after:
        parts.append(after)
    return " ".join(parts)


def truncated(message: str) -> str:
    """Cut a message to what an Event takes."""
    return message if len(message) <= LONGEST else message[: LONGEST - 4] + " ..."
