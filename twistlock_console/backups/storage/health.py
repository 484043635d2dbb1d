"""Whether the backup volume would take a backup now."""

import os
import shutil
import socket
from pathlib import Path

LOW_BYTES = 256 * 1024**2


def volume_health(root: Path) -> str | None:
    """Say what is wrong with the volume at *root*; None if nothing is.

    A file is written, read back and deleted: mounted is not yet writable.
    """
    probe = root / f".probe-{socket.gethostname()}-{os.getpid()}"
    wanted = os.urandom(32)
    try:
        free = shutil.disk_usage(root).free
        probe.write_bytes(wanted)
        found = probe.read_bytes()
        probe.unlink()
    except OSError as error:
        return f"the backup volume {root} cannot be used: {error.strerror}"
    if found != wanted:
        return f"the backup volume {root} gave back other bytes than were written"
    if free < LOW_BYTES:
        return f"only {free // 1024**2} MB are free on the backup volume {root}"
    return None
