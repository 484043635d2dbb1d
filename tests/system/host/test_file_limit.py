"""The limit on open files is raised to what the host allows."""

import resource
import subprocess
import sys

LOWERED = (
    "import resource; "
    "from twistlock_console.system.processes import raise_file_limit; "
    "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; "
    "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)); "
    "print(raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
)


def test_the_soft_limit_becomes_the_hard_one() -> None:
    """A service manager's default of 1,024 would be too few."""
    told = subprocess.check_output([sys.executable, "-c", LOWERED], text=True)
    allowed, soft, hard = (int(word) for word in told.split())

    assert soft == hard == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert hard in (allowed, resource.RLIM_INFINITY)
