"""Children that end with us, or when they are told to."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hosts.waiting import eventually
from twistlock_console.system.processes import end_group, with_parent_death_signal

GRACE_S = 60
"""So long that whoever waits for its end is told from all others."""
POLITE = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + POLITE
#: Forks a child into its group that does not listen, and then is polite itself.
PARENT = (
    "import subprocess, sys; "
    f"deaf = subprocess.Popen([sys.executable, '-c', {DEAF!r}], "
    "stdout=subprocess.PIPE); deaf.stdout.readline(); print(deaf.pid, flush=True); "
    "import time; time.sleep(60)"
)


def started(program: str) -> tuple[subprocess.Popen[bytes], bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    with process.stdout as output:
        return process, output.readline()


def test_a_polite_process_ends_within_the_grace() -> None:
    """SIGTERM is enough for it, and nobody waits longer than needed."""
    process, _ = started(POLITE)
    began = time.monotonic()

    graceful = end_group(process.pid, grace=GRACE_S)

    assert graceful
    assert time.monotonic() - began < GRACE_S / 2
    process.wait()


def test_a_deaf_process_is_killed_after_the_grace() -> None:
    """The grace is a bound: then comes SIGKILL."""
    process, _ = started(DEAF)

    graceful = end_group(process.pid, grace=0.2)

    assert not graceful
    process.wait()


def test_the_whole_group_ends() -> None:
    """A child that outlives its polite parent does not outlive the group."""
    process, answer = started(PARENT)

    end_group(process.pid, grace=10)

    assert eventually(lambda: not _lives(int(answer)))
    process.wait()


def test_a_group_that_is_gone_is_fine() -> None:
    """Ending twice is as ending once."""
    process, _ = started(POLITE)
    end_group(process.pid, grace=10)
    process.wait()

    assert end_group(process.pid, grace=10)


@pytest.mark.parametrize("pid", [0, 1, -5])
def test_no_group_but_a_childs_is_ended(pid: int) -> None:
    """0 would be our own group, and a negative number any process at all."""
    with pytest.raises(ValueError, match="no group"):
        end_group(pid, grace=0)


def test_a_bound_program_is_the_program() -> None:
    """The wrapper becomes the program: same process id, same arguments."""
    command = with_parent_death_signal(
        ["/bin/sh", "-c", 'echo "$$ $1"', "sh", "with space"]
    )

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=120)

    assert output == f"{process.pid} with space\n"


def test_a_bound_program_does_not_start_for_a_dead_parent() -> None:
    """A parent that died before the kernel was told leaves nothing behind."""
    command = with_parent_death_signal(["/bin/echo", "started"])
    command[5] = "1"

    result = subprocess.run(command, capture_output=True, timeout=120, check=False)

    assert result.stdout == b""


def test_a_forked_child_dies_with_its_parent() -> None:
    """die_with_parent needs no help of the parent, which may be killed."""
    parent, answer = started(
        "import os, time\n"
        "from twistlock_console.system.processes import die_with_parent\n"
        "me, (read, write) = os.getpid(), os.pipe()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    die_with_parent(parent=me)\n"
        "    os.write(write, b'x')\n"
        "    time.sleep(60)\n"
        "os.read(read, 1)\n"
        "print(pid, flush=True)\n"
        "time.sleep(60)\n"
    )

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    assert eventually(lambda: not _lives(int(answer)))


def _lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
