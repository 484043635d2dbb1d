"""What no single value can tell: values against each other and against the host."""

import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twistlock_console.settings.host import bind_problem
from twistlock_console.settings.ports import listeners
from twistlock_console.settings.values import Settings

log = logging.getLogger(__name__)

VERSION_SECONDS = 10.0

Finding = tuple[tuple[str, ...], str]
"""The keys that a mistake is about, and the sentence."""


def check_values(settings: Settings) -> Iterator[Finding]:
    """Find the values that do not go together."""
    yield from _check_ports(settings)


def _check_ports(settings: Settings) -> Iterator[Finding]:
    seen: dict[int, str] = {}
    for key, port, _ in listeners(settings):
        if port in seen:
            first = seen[port]
            sentence = f"{first} and {key} are both {port}; each needs its own port"
            yield (first, key), sentence
        elif port is not None:
            seen[port] = key


def check_host(settings: Settings) -> Iterator[Finding]:
    """Find what this host does not have or forbids. Leaves nothing behind."""
    address = settings.node_address
    if problem := bind_problem(address):
        yield (
            ("NODE_ADDRESS",),
            f"NODE_ADDRESS {address} is not an address of this host: "
            f"{problem.strerror}",
        )
    if wrong := unwritable(settings.data_folder):
        yield ("DATA_FOLDER",), f"DATA_FOLDER {wrong}"
    volume = settings.data_recovery_volume
    if settings.data_recovery_enabled and (wrong := unwritable(volume)):
        # No reason to stay down: a lost mount must not stop the Console.
        log.warning("no backups can be made: DATA_RECOVERY_VOLUME %s", wrong)
    if settings.mongod_binary and (wrong := not_mongod(settings.mongod_binary)):
        yield ("MONGOD_BINARY",), f"MONGOD_BINARY {wrong}"


def unwritable(folder: Path) -> str | None:
    """Say why *folder* cannot be written or made, if so."""
    try:
        if folder.exists():
            usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
            return None if usable else f"{folder} is not a folder that can be written"
        parent = next(above for above in folder.parents if above.exists())
        # Only an attempt tells: to root, /proc looks writable.
        with tempfile.TemporaryDirectory(prefix=".twistlock-", dir=parent):
            return None
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror}"


def not_mongod(program: Path) -> str | None:
    """Say why *program* cannot be run as mongod, if so. Takes at most 10 s."""
    try:
        # A file, not a pipe: what the program leaves behind cannot hold us up.
        with tempfile.TemporaryFile() as output:
            subprocess.run(
                [program, "--version"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=VERSION_SECONDS,
                check=False,
            )
            output.seek(0)
            if b"db version" in output.read(10_000):
                return None
            return f"{program} is not a mongod: --version shows no db version"
    except OSError as error:
        return f"{program} cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{program} is not a mongod: --version did not end"
