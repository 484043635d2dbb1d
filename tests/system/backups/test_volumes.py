"""A volume that is missing, read-only, full or silent is said, and breaks nothing."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from twistlock_console.backups.storage.health import VolumeCalls, volume_health
from twistlock_console.common.errors import ConsoleError


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A volume of 64 KB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    subprocess.run(mount, check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_missing_volume_is_said(tmp_path: Path) -> None:
    """Its place is named."""
    told = volume_health(tmp_path / "nowhere")

    assert told is not None
    assert "nowhere cannot be used: No such file or directory" in told


@pytest.mark.needs("mount", "umount", root=True)
def test_a_small_full_or_read_only_volume_is_said(small: Path) -> None:
    """Little room is told before there is none."""
    assert "MB are free" in str(volume_health(small))
    (small / "filler").write_bytes(bytes(64 * 1024))
    assert "No space left on device" in str(volume_health(small))
    (small / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    assert "Read-only file system" in str(volume_health(small))


def test_a_silent_volume_blocks_no_other_thread() -> None:
    """One thread is lost to it, no more, and it works again when it answers again."""
    silent = threading.Event()
    volume = VolumeCalls("the volume")
    before = threading.active_count()

    for _ in range(3):
        with pytest.raises(ConsoleError, match=r"did not answer within 0\.2 s"):
            volume.call(silent.wait, 0.2)
    assert threading.active_count() <= before + 1

    silent.set()
    assert volume.call(lambda: 5, 5) == 5


def test_errors_come_through() -> None:
    """What is wrong is raised where it was asked."""

    def fail() -> None:
        raise ConsoleError("told")

    with pytest.raises(ConsoleError, match="told"):
        VolumeCalls("the volume").call(fail)
