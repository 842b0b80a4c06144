"""What whoever runs the operator decides, once, for all jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["LaunchMode", "Settings"]

LaunchMode = Literal["ssh", "exec"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings. Defaults are upstream's behaviour.

    ``launch_mode``: how the launcher reaches workers. ``ssh`` needs sshd in the image; ``exec`` uses the Kubernetes API's
    exec and is right where launcher and workers share the operator's file system (the local cluster).
    ``exec_agent``: in exec mode, the shell command line that starts the remote shell; see ``launch.agent_command``.
    ``launcher_env``: variables for every launcher, for facts about the cluster; a job's own values win.
    ``cluster_domain``: appended to host names when not empty.
    ``namespace``: the only namespace served; None means all.
    ``reconcilers``: how many jobs are worked on at the same time.
    ``writes``: how many writes of one job may be on their way at the same time.
    """

    launch_mode: LaunchMode = "ssh"
    exec_agent: str = ""
    launcher_env: Mapping[str, str] = field(default_factory=dict)
    cluster_domain: str = ""
    namespace: str | None = None
    reconcilers: int = 8
    writes: int = 16

    def __post_init__(self) -> None:
        if self.launch_mode == "exec" and not self.exec_agent:
            raise ValueError("launch mode exec needs exec_agent, the command line of the remote shell")
