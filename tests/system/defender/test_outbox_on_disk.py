"""What the outbox keeps when its process is killed, or its disk is full."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.node import PROJECT
from tests.unit.defender.test_outbox import everything, opened
from twistlock_console.system.processes import with_parent_death_signal

MEGABYTE = 1024 * 1024

ADDER = """
import sys
from pathlib import Path
from twistlock_defender.link.outbox import Outbox

outbox = Outbox(Path(sys.argv[1]), 1 << 24)
for number in range(1_000_000):
    outbox.add([f'{{"n":{number}}}'])
    print(number, flush=True)
"""


def test_what_was_added_survives_a_kill(tmp_path: Path) -> None:
    """Whatever `add` returned for is there after SIGKILL, once and in order."""
    path = tmp_path / "outbox.db"
    adder = subprocess.Popen(
        with_parent_death_signal([sys.executable, "-c", ADDER, str(path)]),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
    )
    assert adder.stdout is not None
    told = [int(adder.stdout.readline()) for _ in range(100)]
    adder.kill()
    told += map(int, adder.communicate()[0].split())

    outbox = opened(tmp_path)

    bodies = [json.loads(body)["n"] for _, body in everything(outbox)]
    assert bodies[: len(told)] == told
    assert bodies == list(range(len(bodies)))
    outbox.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write to *path* until its disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.needs("mount", root=True)
def test_a_full_disk_is_told_and_nothing_is_lost_meanwhile(small_disk: Path) -> None:
    """Findings are held in memory and written once there is room again."""
    outbox = opened(small_disk, limit=64 * MEGABYTE)
    ballast = small_disk / "ballast"
    fill(ballast)

    for number in range(100):
        outbox.add([json.dumps({"n": number, "x": "x" * 4000})])
    trouble = outbox.state().trouble
    ballast.unlink()
    outbox.retry()

    assert "cannot be written (database or disk is full)" in str(trouble)
    assert outbox.state().trouble is None
    assert [json.loads(body)["n"] for _, body in everything(outbox)] == [*range(100)]
    outbox.close()
