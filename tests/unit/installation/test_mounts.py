"""What the mount table says of a path."""

from pathlib import Path

import pytest

from twistlock_console.host_folders.inspection import file_system_of, is_in_memory

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /srv/ram\\040disk rw - tmpfs tmpfs rw
31 22 0:26 / /srv rw - xfs /dev/sdb rw
32 22 0:27 / /srv rw master:1 - nfs4 server:/x rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/srv", "nfs4"),
        ("/srvx", "ext4"),
        ("/srv/ram disk/x", "tmpfs"),
    ],
)
def test_the_deepest_mount_counts(path: str, kind: str) -> None:
    """Of two at one point the later one; blanks are escaped in the table."""
    assert file_system_of(Path(path), TABLE) == kind


def test_a_file_system_in_memory_is_known() -> None:
    """As /dev/shm is on every Linux."""
    assert is_in_memory(Path("/dev/shm"))  # noqa: S108
    assert not is_in_memory(Path("/proc"))
