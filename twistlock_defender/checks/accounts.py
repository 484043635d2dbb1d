"""Checks of the files that hold accounts."""

from pathlib import Path

from twistlock_defender.checks.check import Check, at_most, text_of


def _fields(root: Path, name: str) -> list[list[str]]:
    lines = text_of(root / "etc" / name).splitlines()
    return [line.split(":") for line in lines if line and not line.startswith("#")]


def _empty_passwords(root: Path) -> str | None:
    names = [f[0] for f in _fields(root, "shadow") if len(f) > 1 and not f[1]]
    return f"no password: {', '.join(names)}; run: passwd -l NAME" if names else None


def _other_roots(root: Path) -> str | None:
    names = [f[0] for f in _fields(root, "passwd") if len(f) > 2 and f[2] == "0"]
    others = [name for name in names if name != "root"]
    return f"user id 0 is also that of {', '.join(others)}" if others else None


CHECKS = (
    Check(
        "passwd-rights",
        "high",
        at_most("etc/passwd", "etc/group", mode=0o644),
    ),
    Check(
        "shadow-rights",
        "critical",
        at_most("etc/shadow", "etc/gshadow", mode=0o640),
    ),
    Check(
        "empty-passwords",
        "critical",
        _empty_passwords,
    ),
    Check("other-roots", "critical", _other_roots),
)
