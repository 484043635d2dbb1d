"""`python -m tests.systemd`: install, kill, stop and remove under a real systemd.

Not one of `make test`: it needs a kernel and a sandbox in which systemd starts.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twistlock_console.system.processes import with_parent_death_signal

HERE = Path(__file__).parent
SPACES = ("--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--cgroup")
ENVIRONMENT = (
    "env",
    "-i",
    "HOME=/root",
    "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)
START_SECONDS = 60


def main() -> int:
    """Build the release, start systemd, and lead the life in it."""
    with tempfile.TemporaryDirectory(prefix="systemd-") as folder:
        root = Path(folder)
        (root / "box").mkdir()
        build = ["packaging/release.sh", "--output", folder]
        subprocess.run(build, check=True, timeout=300)
        begin = ["/usr/bin/unshare", *SPACES, "--kill-child", "bash"]
        box = subprocess.Popen(
            with_parent_death_signal([*begin, str(HERE / "box.sh"), str(root / "box")])
        )
        try:
            # What the box sees of /tmp is its own: the tarball comes by descriptor.
            with next(root.glob("*.tar.gz")).open("rb") as release:
                return _lead(_first_process(box.pid), release.fileno())
        finally:
            box.kill()
            box.wait()


def _first_process(unshare: int) -> int:
    """Wait for systemd to be up; its process id out here."""
    for _ in range(START_SECONDS * 2):
        time.sleep(0.5)
        children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
        if children and _in(int(children[0]), "systemctl", "is-system-running") == 0:
            return int(children[0])
    raise TimeoutError(f"systemd did not start within {START_SECONDS} s")


def _lead(first: int, release: int) -> int:
    life = (HERE / "life.sh").read_text()
    copied = f"cat <&{release} >/root/release.tar.gz"
    command = f"{copied}; bash -c '{{ cat; }}' >/root/life.sh; bash /root/life.sh"
    return _in(
        first, "bash", "-c", f"{command} /root/release.tar.gz", text=life, keep=release
    )


def _in(first: int, *command: str, text: str = "", keep: int | None = None) -> int:
    entered = ["nsenter", f"--target={first}", "--all", *ENVIRONMENT, *command]
    done = subprocess.run(
        entered,
        input=text.encode(),
        timeout=300,
        check=False,
        pass_fds=() if keep is None else (keep,),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
        stderr=subprocess.DEVNULL if keep is None else None,
        stdout=subprocess.DEVNULL if keep is None else None,
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
