"""A cluster manager is noticed by its own signs, on any host."""

from pathlib import Path

import pytest

from twistlock_console.settings.host import detect_orchestrator


def test_a_plain_host_has_none(tmp_path: Path) -> None:
    """Docker's folders are on every host with Docker, and are no sign of a swarm."""
    (tmp_path / "var/run/docker/swarm").mkdir(parents=True)
    (tmp_path / "var/lib/docker/swarm").mkdir(parents=True)

    assert detect_orchestrator({"HOME": "/root"}, tmp_path) is None


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("KUBERNETES_SERVICE_HOST", "Kubernetes"),
        ("ECS_CONTAINER_METADATA_URI", "Amazon ECS"),
        ("ECS_CONTAINER_METADATA_URI_V4", "Amazon ECS"),
    ],
)
def test_the_environment_tells(tmp_path: Path, variable: str, name: str) -> None:
    """What the manager puts into a container's environment is enough."""
    assert (
        detect_orchestrator({variable: "x"}, tmp_path) == f"{name} ({variable} is set)"
    )


@pytest.mark.parametrize(
    ("sign", "name"),
    [
        ("var/run/secrets/kubernetes.io", "Kubernetes"),
        ("var/run/docker/swarm/control.sock", "Docker Swarm"),
        ("var/lib/docker/swarm/docker-state.json", "Docker Swarm"),
    ],
)
def test_the_file_system_tells(tmp_path: Path, sign: str, name: str) -> None:
    """What the manager leaves on a host is enough, with an empty environment."""
    (tmp_path / sign).parent.mkdir(parents=True)
    (tmp_path / sign).touch()

    assert detect_orchestrator({}, tmp_path) == f"{name} (/{sign} exists)"


def test_an_unreadable_path_is_no_evidence(tmp_path: Path) -> None:
    """A look that fails is no reason to refuse."""
    assert detect_orchestrator({}, tmp_path / ("x" * 5000)) is None
