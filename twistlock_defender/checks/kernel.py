"""Checks of the kernel's settings."""

from collections.abc import Callable
from pathlib import Path

from twistlock_defender.checks.check import Check, text_of


def _is(name: str, wanted: str) -> Callable[[Path], str | None]:
    def fault(root: Path) -> str | None:
        value = text_of(root / "proc/sys" / name.replace(".", "/")).strip()
        if value in (wanted, ""):
            return None
        return f"{name} is {value}; run: sysctl -w {name}={wanted}"

    return fault


CHECKS = (
    Check(
        "address-randomization",
        "high",
        _is("kernel.randomize_va_space", "2"),
    ),
    Check(
        "dumps-of-setuid-programs",
        "medium",
        _is("fs.suid_dumpable", "0"),
    ),
    Check(
        "redirects",
        "medium",
        _is("net.ipv4.conf.all.accept_redirects", "0"),
    ),
)
