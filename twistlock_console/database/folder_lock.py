"""Waits until no mongod has our data folder any more."""

import fcntl
import time
from pathlib import Path

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError

STALE_SECONDS = 10.0
PAUSE = 0.02


def wait_until_free(folder: Path, seconds: float = STALE_SECONDS) -> None:
    """Return when no mongod has *folder*, at most after *seconds*.

    One from an earlier life of this node was killed with it, and ends soon. Raises
    DatabaseError if it does not.
    """
    lock = folder / "mongod.lock"
    deadline = boottime_ns() + round(seconds * SECOND)
    while _locked(lock):
        if boottime_ns() > deadline:
            owner = lock.read_text(errors="replace").strip() or "unknown"
            raise DatabaseError(
                f"an earlier mongod (process {owner}) still uses {folder}; end it "
                "and start again"
            )
        time.sleep(PAUSE)


def _locked(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            # mongod holds an exclusive one for as long as it lives.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise DatabaseError(
            f"{lock} cannot be used: {describe_error(error)}; give all in the data "
            "folder to the account that runs the Console"
        ) from error
    return False
