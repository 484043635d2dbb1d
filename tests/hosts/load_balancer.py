"""HAProxy on a test host, with the configuration that is shipped for real use."""

import os
import subprocess

from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Host
from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for

SHIPPED = PROJECT / "config/load-balancer/haproxy.cfg"


def start_haproxy(host: Host, cluster: Cluster) -> None:
    """Start it on *host* in front of the *cluster*; it ends with the host."""
    nodes = {
        f"NODE_{place}": node.address
        for place, node in enumerate(cluster.nodes.values(), start=1)
    }
    log = (host.folder / "haproxy.log").open("wb")
    with log:
        host.start(
            *("haproxy", "-db", "-f", str(SHIPPED)),
            env={
                **os.environ,
                **nodes,
                "LISTEN_ON": host.address,
                "CA_FILE": str(cluster.certificates / "ca.pem"),
                "CONNECTIONS": "200",
                "LOG_TO": "stdout",
                "TWISTLOCK_DEMO": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    wait_for(lambda: ":8443" in host.run("ss", "-ltn"), 10, "HAProxy to listen")
