"""Checks of the SSH server's settings."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from twistlock_defender.checks.check import Check, at_most, text_of

CONFIG = "etc/ssh/sshd_config"
DEEPEST_INCLUDE = 4


def settings(root: Path) -> dict[str, str]:
    """The server's settings in small letters; the first mention of each counts.

    What stands in a Match block holds for some only, and is left aside.
    """
    found: dict[str, str] = {}
    for line in _lines(root, root / CONFIG, 0):
        key, _, value = line.replace("=", " ", 1).partition(" ")
        if key.lower() == "match":
            break
        found.setdefault(key.lower(), value.strip().strip('"').lower())
    return found


def _lines(root: Path, path: Path, depth: int) -> Iterator[str]:
    for raw in text_of(path).splitlines():
        line = " ".join(raw.split())
        if not line or line.startswith("#"):
            continue
        if line.lower().startswith("include ") and depth < DEEPEST_INCLUDE:
            for pattern in line.split()[1:]:
                inside = os.path.join("/etc/ssh", pattern).lstrip("/")  # noqa: PTH118
                for included in sorted(glob.glob(str(root / inside))):  # noqa: PTH207
                    yield from _lines(root, Path(included), depth + 1)
        else:
            yield line


def _root_login(root: Path) -> str | None:
    value = settings(root).get("permitrootlogin", "prohibit-password")
    return _unless(root, value == "no", f"PermitRootLogin is {value}; set it to no")


def _empty_passwords(root: Path) -> str | None:
    value = settings(root).get("permitemptypasswords", "no")
    return _unless(root, value == "no", "PermitEmptyPasswords is on; set it to no")


def _tries(root: Path) -> str | None:
    value = settings(root).get("maxauthtries", "6")
    few = value.isdecimal() and int(value) <= 4
    return _unless(root, few, f"MaxAuthTries is {value}; set it to 4 or less")


def _unless(root: Path, good: bool, fault: str) -> str | None:
    return None if good or not (root / CONFIG).exists() else fault


CHECKS = (
    Check("ssh-root-login", "high", _root_login),
    Check(
        "ssh-empty-passwords",
        "critical",
        _empty_passwords,
    ),
    Check("ssh-tries", "medium", _tries),
    Check(
        "ssh-settings-rights",
        "medium",
        at_most(CONFIG, mode=0o600),
    ),
)
