"""A test host with a file tree of its own: what is installed on it stays on it."""

import shlex
import subprocess
from pathlib import Path

from tests.hosts.laboratory import Host

OVERLAID = ("etc", "home", "opt", "root", "srv", "usr/local", "var")
# What this machine has there is hidden where it would be in the way.
HIDDEN = ("home", "opt", "root", "srv", "usr/local")
ENVIRONMENT = (
    "/usr/bin/env",
    "-i",
    "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
)
SUDO = """#!/bin/sh
exec "$@"
"""
#: What the installer itself leaves, and says so in the manual.
OUR_FILES = ("/var/log/twistlock-install.log", "/etc/systemd", "/root")
#: Where a host's files are that no test of another program changes meanwhile.
PLACES = "/etc /home /opt /srv /usr/local /var"

ENVIRONMENTS = "/mnt"
# Asked for an environment it gives one that was made before, whose libraries all hosts
# share; pip then finds everything installed, and the rest goes its way.
QUICK_PYTHON = f"""#!/bin/sh
if [ "$1 $2 $3" = "-I -m venv" ]; then
    release=$(basename "$5")
    made={ENVIRONMENTS}/${{release%%-*}}
    cp -a "$made/bin" "$made/pyvenv.cfg" "$5"
    ln -s "$made/lib" "$5/lib"
    exec sed -i "1s,^#!.*,#!$5/bin/python," "$5/bin/twistlock-console"
fi
exec /usr/bin/python3 "$@"
"""


class BareHost:
    """*host* as a fresh machine: nothing of ours on it, and no systemd.

    With *environments*, a folder of Python environments by version, what is installed
    on it is taken from there, unless *patient* is set.
    """

    def __init__(self, host: Host, environments: Path | None = None) -> None:
        self.host = host
        self.address = host.address
        self.patient = environments is None
        self.own_program("sudo", SUDO)
        self.quick_python = self.own_program("quick-python", QUICK_PYTHON)
        if environments:
            host.run("mount", "--bind", str(environments), ENVIRONMENTS)
        for place in OVERLAID:
            self._overlay(place)
        # Of a Console on this machine the host's own tree shows nothing.
        host.run("rm", "-rf", "/var/lib/twistlock", "/var/lib/twistlock-backup")
        for place in ("/run", "/var/tmp"):  # noqa: S108 - each host has its own
            host.run("mount", "-t", "tmpfs", "tmpfs", place)
        host.run("mkdir", "-p", "/run/lock")

    def own_program(self, name: str, text: str) -> str:
        """Put a program of ours on its PATH, before the system's; gives its path."""
        path = f"/usr/local/bin/{name}"
        place = self.tree(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
        return path

    def _overlay(self, place: str) -> None:
        upper, work = (self.host.folder / kind / place for kind in ("tree", "work"))
        upper.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True)
        empty = self.host.folder / "empty"
        empty.mkdir(exist_ok=True)
        lower = empty if place in HIDDEN else Path("/", place)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        self.host.run("mount", "-t", "overlay", "overlay", "-o", options, f"/{place}")

    def tree(self, path: str) -> Path:
        """Where the file that the host sees at *path* is for us."""
        return self.host.folder / "tree" / path.lstrip("/")

    def bash(self, script: str, *, check: bool = True, seconds: float = 120) -> str:
        """Run *script* as root in root's home; its output, both streams together."""
        quick = () if self.patient else (f"TWISTLOCK_PYTHON={self.quick_python}",)
        process = self.host.start(
            *ENVIRONMENT,
            *quick,
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

    def at_terminal(self, command: str, *, typed: str) -> str:
        """Run *command* at a terminal at which *typed* is typed; what is seen there."""
        seen = f"script -qec {shlex.quote(command)} /dev/null <<<{shlex.quote(typed)}"
        return self.bash(seen).replace("\r\n", "\n")

    def unpack(self, tarball: Path) -> str:
        """Unpack a release in root's home; the folder."""
        where = shlex.quote(str(tarball))
        self.bash(f"tar -xzf {where}")
        return f"/root/{tarball.name.removesuffix('.tar.gz')}"

    def listing(self, *without: str) -> dict[str, str]:
        """Owner, group, mode and kind of every file outside the folders *without*."""
        skipped = [*OUR_FILES, *without]
        tests = " -o ".join(f"-path {shlex.quote(path)}" for path in skipped)
        shown = "-printf '%p\\t%U %G %m %y %l\\n'"
        found = self.bash(f"find {PLACES} -xdev \\( {tests} \\) -prune -o {shown}")
        lines = (line.partition("\t") for line in found.splitlines())
        return {path: what for path, _, what in lines}
