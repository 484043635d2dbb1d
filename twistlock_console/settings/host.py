"""Read this host's name and addresses, and detect a cluster manager."""

import errno
import socket
import threading
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOOKUP_TIMEOUT_S = 3.0
DOCUMENTATION_ADDRESS = "192.0.2.1"
ORCHESTRATOR_VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "ECS_CONTAINER_METADATA_URI": "Amazon ECS",
    "ECS_CONTAINER_METADATA_URI_V4": "Amazon ECS",
}
ORCHESTRATOR_PATHS = {
    "var/run/secrets/kubernetes.io": "Kubernetes",
    # Docker makes the folders around these on every host; the files themselves
    # are there only while the host is a member of a swarm.
    "var/run/docker/swarm/control.sock": "Docker Swarm",
    "var/lib/docker/swarm/docker-state.json": "Docker Swarm",
}


def full_name() -> str:
    """Return this host's full name; its plain name when DNS is slow or too long."""
    plain = socket.gethostname()
    name = plain if "." in plain else _call_with_timeout(socket.getfqdn, plain)
    return name if len(name) <= 64 else plain[:64]


def find_address(beyond: str = DOCUMENTATION_ADDRESS) -> str | None:
    """Return our IPv4 address on the route to *beyond*, or that of our name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket chooses a route and sends nothing.
            probe.connect((beyond, 9))
        except OSError:
            return _call_with_timeout(_address_of_name, None)
        return str(probe.getsockname()[0])


def is_loopback(address: str) -> bool:
    """Return whether other hosts cannot reach *address*."""
    return IPv4Address(address).is_loopback


def lacks_ipv6(address: str, problem: OSError) -> bool:
    """Return whether *problem* is that this host lacks IPv6 for *address*."""
    return ":" in address and problem.errno in (
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        errno.EPROTONOSUPPORT,
    )


def bind_problem(address: str, port: int = 0) -> OSError | None:
    """Return why *port* cannot be opened on *address*; None if it can. 0 is any port.

    A host without IPv6 is no problem: the port is then opened on IPv4 alone.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return None if lacks_ipv6(address, error) else error
    return None


def _address_of_name() -> str | None:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return None


def _call_with_timeout(call: Callable[[], T], otherwise: T) -> T:
    """Return the result of *call*, or *otherwise* after LOOKUP_TIMEOUT_S."""
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    thread.join(LOOKUP_TIMEOUT_S)
    return answers[0] if answers else otherwise


def detect_orchestrator(
    environ: Mapping[str, str], root: Path = Path("/")
) -> str | None:
    """Return the cluster manager and the evidence of it, or None on a plain host.

    *root* is where the host's file system begins.
    """
    for variable, name in ORCHESTRATOR_VARIABLES.items():
        if variable in environ:
            return f"{name} ({variable} is set)"
    for path, name in ORCHESTRATOR_PATHS.items():
        if _exists(root / path):
            return f"{name} (/{path} exists)"
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
