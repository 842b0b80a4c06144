"""Pods where the kernel allows no sandbox: plain processes, and said to be."""

from __future__ import annotations

import socket
from pathlib import Path

from hortator.kube.resources import CONFIG_MAPS
from support.local_nodes import local_cluster, pod


async def test_volume_paths_are_replaced_by_the_real_folders(tmp_path: Path) -> None:
    async with local_cluster(tmp_path, sandbox=False) as cluster:
        await cluster.client.create(
            CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"hostfile": "a\n"}}, namespace="default"
        )
        done = await cluster.run(
            pod(
                "p",
                "cat /etc/mpi/hostfile $FILE; hostname; echo $HOSTNAME; echo why > /dev/termination-log",
                container={
                    "env": [{"name": "FILE", "value": "/etc/mpi/hostfile"}],
                    "volumeMounts": [{"name": "c", "mountPath": "/etc/mpi"}],
                },
                volumes=[{"name": "c", "configMap": {"name": "c"}}],
            )
        )
        assert (await cluster.log("p")).decode().split() == ["a", "a", socket.gethostname(), "p"]
        assert done["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "why\n"
        assert cluster.events.reasons("p").count("NoSandbox") == 1
