"""Read facts about this host: operating system, size, number of packages."""

import os
import platform
import shutil
import socket
import threading
from functools import cache
from pathlib import Path

from twistlock_console.protocol import Facts

GIGABYTE = 1024**3


class HostFacts:
    """Reads the facts; a thread resolves the full name, which may take long."""

    def __init__(self) -> None:
        self._fqdn = socket.gethostname()
        threading.Thread(target=self._resolve_fqdn, name="fqdn", daemon=True).start()

    def read(self) -> Facts:
        """Return the facts as they are now."""
        disk = shutil.disk_usage("/")
        return Facts(
            os=_os_name()[:255],
            kernel=platform.release()[:255],
            fqdn=self._fqdn[:255],
            cpu_count=os.cpu_count() or 0,
            memory_gb=_memory_gb(),
            total_disk_space_gb=round(disk.total / GIGABYTE),
            free_disk_space_gb=round(disk.free / GIGABYTE),
            packages=_count_packages(),
        )

    def _resolve_fqdn(self) -> None:
        self._fqdn = socket.getfqdn()


@cache
def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


@cache
def _memory_gb() -> float:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return round(pages / GIGABYTE, 1)


def _count_packages() -> int:
    """Return the number of packages that dpkg or apk has installed; 0 without both."""
    lists = Path("/var/lib/dpkg/info").glob("*.list")
    if count := sum(1 for _ in lists):
        return count
    try:
        installed = Path("/lib/apk/db/installed").read_text()
    except OSError:
        return 0
    return sum(line.startswith("P:") for line in installed.splitlines())
