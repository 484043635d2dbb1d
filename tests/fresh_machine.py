"""Run the two commands of README.md on a minimal Debian, as root and as a user.

`python -m tests.fresh_machine`, or `make fresh`. The system has Python, make and git,
and no compiler, no cache of pip and no environment of ours. It lies below build/; each
user works on an overlay of it, in namespaces that end with the command. Needs root and
debootstrap.

    --tests "tests/unit"    what `make test` gets as ARGS; "" for the whole of it
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

PROJECT = Path(__file__).parents[1]
BASE = PROJECT / "build/fresh-machine"
SUITE = "bookworm"
#: What README.md says that a fresh machine needs; git also gets the checkout.
PACKAGES = "ca-certificates,git,make,python3"
USER = "alice"
CHECKOUT = "home/console"
DEMO_TIMEOUT_S, TESTS_TIMEOUT_S = 900, 7200
#: Runs in namespaces of its own for mounts, processes and IPC; $1 is the system, $2 its
#: temporary folder: an overlay cannot hold the overlays that tests make.
ENTER = """
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/tmp"
system=$1; shift 2
while [ "$1" != -- ]; do
    mkdir -p "$system$1"
    mount --bind "$1" "$system$1"
    shift
done
shift
exec chroot "$system" "$@"
"""


def main() -> int:
    """Set the system up and run both commands as each user."""
    parser = argparse.ArgumentParser(prog="tests.fresh_machine")
    parser.add_argument("--tests", default="tests/unit -n 2", help="make test's ARGS")
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        parser.error("it makes namespaces; run it as root, where debootstrap is")
    _make_base()
    with tempfile.TemporaryDirectory(prefix="fresh-") as folder, ExitStack() as stack:
        failed = 0
        for user in ("root", USER):
            system = System(Path(folder, user), user)
            stack.callback(system.close)
            system.set_up()
            failed |= _run_both(system, options.tests)
        return failed


class System:
    """A minimal Debian of its own, at *folder*, on which *user* works."""

    def __init__(self, folder: Path, user: str) -> None:
        self.user = user
        self.root, self._temporary = folder / "root", folder / "tmp"
        for made in (self.root, folder / "upper", folder / "work"):
            made.mkdir(parents=True)
        self._temporary.mkdir()
        self._temporary.chmod(0o1777)
        layers = f"lowerdir={BASE},upperdir={folder}/upper,workdir={folder}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))

    def set_up(self) -> None:
        """Give it the checkout, and its user."""
        self._take_over_network()
        _run("git", "clone", "--quiet", str(PROJECT), str(self.root / CHECKOUT))
        if self.user != "root":
            self.execute("root", "useradd", "--create-home", self.user)
            self.execute("root", "chown", "-R", self.user, f"/{CHECKOUT}")

    def _take_over_network(self) -> None:
        """Let it find the package servers that this machine uses."""
        shutil.copy("/etc/resolv.conf", self.root / "etc")
        for place in ("etc/apt", "usr/share/keyrings", "etc/xdg/pip"):
            if (found := Path("/", place)).exists():
                shutil.copytree(found, self.root / place, dirs_exist_ok=True)
        for place in ("etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
            if (found := Path("/", place)).exists():
                shutil.copy(found, self.root / place)

    def execute(
        self, user: str, *command: str, seconds: int = 600, typed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* as *user* in the checkout; its output, both streams in one."""
        pip = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("PIP_")]
        home = "/root" if user == "root" else f"/home/{user}"
        return subprocess.run(
            [
                *("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child"),
                *("/bin/sh", "-ec", ENTER, "sh", self.root, self._temporary),
                *_package_folders(),
                *("--", "/usr/bin/env", "-i", "-C", f"/{CHECKOUT}", *pip),
                *("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", f"HOME={home}"),
                *("setpriv", "--reuid", user, "--regid", user, "--init-groups"),
                *command,
            ],
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def close(self) -> None:
        """Unmount it; its files go with their folder."""
        _run("umount", "--lazy", str(self.root))


def _package_folders() -> Iterator[str]:
    """Yield the folders of this machine that pip's settings name, such as mirrors."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for word in listed.replace("'", " ").split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.is_dir():
            yield str(path)


def _make_base() -> None:
    """Install the minimal system, once; one that was left half made is made again."""
    if BASE.exists():
        return
    partial = BASE.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    words = ("--variant=minbase", f"--include={PACKAGES}", SUITE)
    _run("debootstrap", *words, str(partial))
    partial.rename(BASE)


def _run_both(system: System, tests: str) -> int:
    """Run both commands; 0 when both did what README.md says."""
    if system.user != "root":
        # An ordinary user is told what an administrator must install, and does it.
        refused = system.execute(system.user, "make", "demo")
        wanted = refused.stdout.partition("apt-get install -y")[2].split("\n")[0]
        _say(system, f"make demo: exit {refused.returncode}; it asks for{wanted}")
        system.execute("root", "apt-get", "update", "-qq")
        system.execute("root", "apt-get", "install", "-y", "-qq", *wanted.split())
    failed = _run_one(system, DEMO_TIMEOUT_S, "make", "demo", "ARGS=--headless")
    return _run_one(system, TESTS_TIMEOUT_S, "make", "test", f"ARGS={tests}") or failed


def _run_one(system: System, seconds: int, *command: str) -> int:
    began = time.monotonic()
    typed = "status\nquit\n" if "demo" in command else None
    done = system.execute(system.user, *command, seconds=seconds, typed=typed)
    ready = typed is None or '"event": "ready"' in done.stdout
    lines = done.stdout.rstrip().splitlines()
    took = time.monotonic() - began
    _say(system, f"{' '.join(command)}: exit {done.returncode} after {took:.0f} s")
    for line in lines[-3:] if ready and not done.returncode else lines[-40:]:
        _say(system, f"    {line}")
    return 0 if ready and not done.returncode else 1


def _say(system: System, line: str) -> None:
    sys.stdout.write(f"{system.user}: {line}\n")
    sys.stdout.flush()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
