"""Check the settings of the SSH server and the Docker daemon."""

import glob
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from twistlock_defender.checks.check import Check, read_text, require_rights
from twistlock_defender.common.json_text import load_json

SSH_CONFIG = "etc/ssh/sshd_config"
MAX_INCLUDE_DEPTH = 4
DOCKER_CONFIG = "etc/docker/daemon.json"


def read_ssh_settings(root: Path) -> dict[str, str]:
    """Return the SSH server's settings in lower case; the first value of each counts.

    Match blocks apply to some connections only, and are ignored.
    """
    found: dict[str, str] = {}
    for line in _config_lines(root, root / SSH_CONFIG, 0):
        key, _, value = line.replace("=", " ", 1).partition(" ")
        if key.lower() == "match":
            break
        found.setdefault(key.lower(), value.strip().strip('"').lower())
    return found


def _config_lines(root: Path, path: Path, depth: int) -> Iterator[str]:
    for raw in read_text(path).splitlines():
        line = " ".join(raw.split())
        if not line or line.startswith("#"):
            continue
        if line.lower().startswith("include ") and depth < MAX_INCLUDE_DEPTH:
            for pattern in line.split()[1:]:
                inside = os.path.join("/etc/ssh", pattern).lstrip("/")  # noqa: PTH118
                for included in sorted(glob.glob(str(root / inside))):  # noqa: PTH207
                    yield from _config_lines(root, Path(included), depth + 1)
        else:
            yield line


def _check_root_login(root: Path) -> str | None:
    value = read_ssh_settings(root).get("permitrootlogin", "prohibit-password")
    return _fault_unless(
        root, value == "no", f"PermitRootLogin is {value}; set it to no"
    )


def _check_empty_passwords(root: Path) -> str | None:
    value = read_ssh_settings(root).get("permitemptypasswords", "no")
    return _fault_unless(
        root, value == "no", "PermitEmptyPasswords is on; set it to no"
    )


def _check_tries(root: Path) -> str | None:
    value = read_ssh_settings(root).get("maxauthtries", "6")
    few = re.fullmatch("0*[0-4]", value) is not None
    return _fault_unless(root, few, f"MaxAuthTries is {value}; set it to 4 or less")


def _fault_unless(root: Path, good: bool, fault: str) -> str | None:
    return None if good or not (root / SSH_CONFIG).exists() else fault


SSH_CHECKS = (
    Check("ssh-root-login", "high", _check_root_login),
    Check(
        "ssh-empty-passwords",
        "critical",
        _check_empty_passwords,
    ),
    Check("ssh-tries", "medium", _check_tries),
    Check(
        "ssh-settings-rights",
        "medium",
        require_rights(SSH_CONFIG, mode=0o600),
    ),
)


def _read_docker_settings(root: Path) -> Mapping[str, object]:
    try:
        found = load_json(read_text(root / DOCKER_CONFIG) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _check_docker_network(root: Path) -> str | None:
    settings = _read_docker_settings(root)
    listed = settings.get("hosts") or ()
    if not isinstance(listed, list | tuple):
        return f"hosts in /{DOCKER_CONFIG} is not a list; Docker does not start with it"
    hosts = [host for host in listed if str(host).startswith("tcp")]
    if not hosts or settings.get("tlsverify"):
        return None
    return f"Docker accepts any client on {hosts[0]}; set tlsverify in /{DOCKER_CONFIG}"


def _check_registries(root: Path) -> str | None:
    found = _read_docker_settings(root).get("insecure-registries")
    return f"registries without TLS: {found}; remove them" if found else None


DOCKER_CHECKS = (
    Check(
        "docker-socket",
        "critical",
        require_rights("run/docker.sock", mode=0o660),
    ),
    Check(
        "docker-settings-rights",
        "high",
        require_rights(DOCKER_CONFIG, mode=0o644),
    ),
    Check(
        "docker-network",
        "critical",
        _check_docker_network,
    ),
    Check(
        "docker-registries",
        "medium",
        _check_registries,
    ),
)
