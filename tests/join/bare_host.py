"""A test host with a file tree of its own: what is installed on it stays on it."""

import shlex
import subprocess
from pathlib import Path

from tests.hosts.laboratory import Host

OVERLAID = ("etc", "opt", "usr/local", "var/lib", "var/log", "root")
ENVIRONMENT = (
    "/usr/bin/env",
    "-i",
    "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)


class BareHost:
    """*host* as a fresh machine: nothing of ours on it, and no systemd."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.address = host.address
        self.home = Path("/root")
        sudo = self.tree("usr/local/bin/sudo")
        sudo.parent.mkdir(parents=True)
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        for place in OVERLAID:
            self._overlay(place)
        for place in ("/run", "/var/tmp"):  # noqa: S108 - each host has its own
            host.run("mount", "-t", "tmpfs", "tmpfs", place)
        host.run("mkdir", "-p", "/run/lock")

    def _overlay(self, place: str) -> None:
        upper, work = (self.host.folder / kind / place for kind in ("tree", "work"))
        upper.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True)
        # What this machine has there is hidden where it would be in the way.
        empty = self.host.folder / "empty"
        empty.mkdir(exist_ok=True)
        lower = empty if place in ("opt", "usr/local", "root") else Path("/", place)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        self.host.run("mount", "-t", "overlay", "overlay", "-o", options, f"/{place}")

    def tree(self, path: str) -> Path:
        """Where the file that the host sees at *path* is for us."""
        return self.host.folder / "tree" / path.lstrip("/")

    def bash(self, script: str, *, check: bool = True, seconds: float = 120) -> str:
        """Run *script* as root in root's home; its output, both streams together."""
        process = self.host.start(
            *ENVIRONMENT,
            "HOME=/root",
            "bash",
            "-c",
            f"cd /root\n{script}",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                output = process.communicate(timeout=seconds)[0].decode()
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if check and process.returncode:
            raise AssertionError(f"{script}: exit {process.returncode}\n{output}")
        return output

    def unpack(self, tarball: Path) -> str:
        """Unpack a release in root's home; the folder."""
        where = shlex.quote(str(tarball))
        self.bash(f"tar -xzf {where}")
        return f"/root/{tarball.name.removesuffix('.tar.gz')}"
