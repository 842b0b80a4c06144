"""Puts the built-in controllers into a manager."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hortator.kube.manager import Manager
from hortator.local.controllers.awake import asleep as machine_asleep
from hortator.local.controllers.garbage.run import GarbageCollector
from hortator.local.controllers.job.run import JobController
from hortator.local.controllers.namespace import NamespaceController
from hortator.local.controllers.nodes import NodeLifecycle
from hortator.local.controllers.podgc import PodCollector
from hortator.local.controllers.serviceaccount import NamespaceFurniture
from hortator.local.controllers.ttl import TtlController
from hortator.local.controllers.volumes import VolumeController

if TYPE_CHECKING:
    from hortator.kube.events import Recorder

__all__ = ["build_controllers"]


def build_controllers(
    manager: Manager,
    *,
    recorder: Recorder,
    data_dir: Path,
    root_ca: str,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    asleep: Callable[[], float] = machine_asleep,
) -> None:
    """Add every built-in controller to a manager; they run with it.

    ``data_dir`` holds the directories of volumes; ``root_ca`` is the certificate (PEM) that namespaces
    publish, empty for none. ``now`` is the wall clock, ``asleep`` the seconds that the machine has slept,
    which deadlines do not count.
    """
    JobController(manager, recorder=recorder, now=now, asleep=asleep)
    TtlController(manager, now=now)
    GarbageCollector(manager)
    NamespaceController(manager, now=now)
    NamespaceFurniture(manager, root_ca=root_ca)
    VolumeController(manager, recorder=recorder, data_dir=data_dir)
    PodCollector(manager, now=now)
    NodeLifecycle(manager, recorder=recorder, now=now)
