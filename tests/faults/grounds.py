"""What a cluster stands on: plain hosts, clocks that can be stepped, or small disks."""

from enum import StrEnum

from tests.hosts.cluster import NAMES, Cluster
from tests.hosts.laboratory import Laboratory

DATABASE_SIZE = "700m"
LOG_SIZE = "16m"


class Ground(StrEnum):
    """How the hosts are prepared before the cluster is formed."""

    PLAIN = "plain hosts"
    CLOCKS = "hosts whose mongod has a clock of its own"
    DISKS = "hosts with small disks"


def cluster_on(ground: Ground, laboratory: Laboratory) -> Cluster:
    """A cluster, not formed yet, on hosts of *laboratory*."""
    clocks = ground is Ground.CLOCKS
    cluster = Cluster(laboratory, own_clocks=clocks)
    if ground is Ground.DISKS:
        for name in NAMES:
            folders = cluster.nodes[name].settings.folders
            mount = ["mount", "-t", "tmpfs", "tmpfs"]
            host = laboratory.host(name)
            host.run(*mount, str(folders.database), "-o", f"size={DATABASE_SIZE}")
            host.run(*mount, str(folders.log), "-o", f"size={LOG_SIZE}")
    return cluster
