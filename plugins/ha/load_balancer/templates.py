"""Render the configuration of a load balancer for this cluster.

Pure. The shipped files describe an example cluster; its addresses, ports and name are
replaced by those of this cluster.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

EXAMPLE_NODES = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
EXAMPLE_NAME = "console.example.com"
API, PAGES, DEFENDERS = "8083", "8443", "8084"
_PAGES_PART = re.compile(r"^ *# pages: begin\n.*?^ *# pages: end\n", re.M | re.S)
_MARKS = re.compile(r"^ *# pages: (?:begin|end)\n", re.M)


class LoadBalancerKind(StrEnum):
    """The product or service that balances the load, as the command line names it."""

    HAPROXY = "haproxy"
    NGINX = "nginx"
    AWS = "aws"
    DNS = "dns"


FILES = {
    LoadBalancerKind.HAPROXY: "haproxy.cfg",
    LoadBalancerKind.NGINX: "nginx.conf",
    LoadBalancerKind.AWS: "aws-nlb.yaml",
    LoadBalancerKind.DNS: "dnsmasq.conf",
}


@dataclass(frozen=True, slots=True)
class LoadBalancedCluster:
    """The cluster behind the load balancer: at most three *nodes*, and their ports.

    *name* is the host name that clients use; without pages *pages_port* is None.
    """

    nodes: tuple[str, ...]
    name: str
    api_port: int
    pages_port: int | None
    defenders_port: int


def render(example: str, front: LoadBalancedCluster) -> str:
    """Return *example* for the cluster of *front*, without lines of missing nodes."""
    text = example
    if front.pages_port is None:
        text = _PAGES_PART.sub("", text)
    text = _MARKS.sub("", text)
    text = "".join(
        line
        for line in text.splitlines(keepends=True)
        if not _names_missing_node(line, len(front.nodes))
    )
    values = {
        **dict(zip(EXAMPLE_NODES, front.nodes, strict=False)),
        EXAMPLE_NAME: front.name,
        API: str(front.api_port),
        PAGES: str(front.pages_port),
        DEFENDERS: str(front.defenders_port),
    }
    words = "|".join(re.escape(word) for word in values)
    return re.sub(rf"\b(?:{words})\b", lambda found: values[found[0]], text)


def _names_missing_node(line: str, nodes: int) -> bool:
    missing = range(nodes, len(EXAMPLE_NODES))
    names = [re.escape(EXAMPLE_NODES[place]) for place in missing]
    names += [rf"NODE_{place + 1}" for place in missing]
    return bool(names) and re.search(rf"\b(?:{'|'.join(names)})\b", line) is not None
