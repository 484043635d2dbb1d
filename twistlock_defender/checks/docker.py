"""Checks of the Docker daemon."""

import json
from pathlib import Path
from typing import Any

from twistlock_defender.checks.check import Check, at_most, text_of

DAEMON = "etc/docker/daemon.json"


def _settings(root: Path) -> dict[str, Any]:
    try:
        found = json.loads(text_of(root / DAEMON) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _network(root: Path) -> str | None:
    settings = _settings(root)
    hosts = [
        host for host in settings.get("hosts") or () if str(host).startswith("tcp")
    ]
    if not hosts or settings.get("tlsverify"):
        return None
    return f"Docker listens on {hosts[0]} to anybody; set tlsverify in /{DAEMON}"


def _registries(root: Path) -> str | None:
    found = _settings(root).get("insecure-registries")
    return f"registries without TLS: {found}; remove them" if found else None


CHECKS = (
    Check(
        "docker-socket",
        "critical",
        at_most("run/docker.sock", mode=0o660),
    ),
    Check(
        "docker-settings-rights",
        "high",
        at_most(DAEMON, mode=0o644),
    ),
    Check(
        "docker-network",
        "critical",
        _network,
    ),
    Check(
        "docker-registries",
        "medium",
        _registries,
    ),
)
