"""Whether a cluster manager runs this node; high availability is then its task."""

from collections.abc import Mapping
from pathlib import Path

VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "ECS_CONTAINER_METADATA_URI": "Amazon ECS",
    "ECS_CONTAINER_METADATA_URI_V4": "Amazon ECS",
}
PATHS = {
    "var/run/secrets/kubernetes.io": "Kubernetes",
    # Docker makes the folders around these on every host; the files themselves
    # are there only while the host is a member of a swarm.
    "var/run/docker/swarm/control.sock": "Docker Swarm",
    "var/lib/docker/swarm/docker-state.json": "Docker Swarm",
}


def detect(environ: Mapping[str, str], root: Path = Path("/")) -> str | None:
    """Name the cluster manager and the sign of it, or None on a plain host.

    *root* is where the host's file system begins.
    """
    for variable, name in VARIABLES.items():
        if variable in environ:
            return f"{name} ({variable} is set)"
    for path, name in PATHS.items():
        if _exists(root / path):
            return f"{name} (/{path} exists)"
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
