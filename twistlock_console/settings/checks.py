"""Check settings against each other, and against this host."""

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from twistlock_console.common.errors import SettingsError
from twistlock_console.host_folders.inspection import why_not_mongod
from twistlock_console.host_folders.rules import DATA_PARTS
from twistlock_console.host_folders.system import is_system_folder
from twistlock_console.settings.host import bind_problem
from twistlock_console.settings.values import Settings

VERSION_TIMEOUT_S = 10.0

Finding = tuple[tuple[str, ...], str]
"""The keys that a problem is about, and a sentence."""
log = logging.getLogger(__name__)


def listeners(settings: Settings) -> Iterator[tuple[str, int | None, tuple[str, ...]]]:
    """Yield each key of a port, its port and the addresses that it listens on."""
    everywhere, ours = settings.service_addresses, settings.private_addresses
    yield "MANAGEMENT_PORT_HTTPS", settings.management_port_https, everywhere
    yield "MANAGEMENT_PORT_UI", settings.management_port_ui, everywhere
    yield "COMMUNICATION_PORT", settings.communication_port, everywhere
    yield "HIGH_AVAILABILITY_PORT", settings.node_api_port, ours
    yield "DATABASE_PORT", settings.database_port, ours


def check_ports_free(settings: Settings) -> None:
    """Raise SettingsError if a port cannot be opened, now or as primary.

    Service ports are checked on a standby too: it may have to open them later.
    """
    problems = [
        _sentence(key, port, address, problem)
        for key, port, addresses in listeners(settings)
        if port is not None
        for address in addresses
        if (problem := bind_problem(address, port))
    ]
    if problems:
        raise SettingsError("\n".join(problems))


def _sentence(key: str, port: int, address: str, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"{key}: port {port} on {address} is taken by another program; "
            "end that program or choose another port"
        )
    return f"{key}: port {port} on {address} cannot be opened: {problem.strerror}"


def check_values(settings: Settings) -> Iterator[Finding]:
    """Yield problems of values that conflict."""
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
    """Yield problems of the settings on this host; undo every change."""
    yield from check_address(settings)
    yield from _check_folders(settings)
    if settings.mongod_binary and (wrong := not_mongod(settings.mongod_binary)):
        yield ("MONGOD_BINARY",), f"MONGOD_BINARY {wrong}"


def check_address(settings: Settings) -> Iterator[Finding]:
    """Yield a problem if NODE_ADDRESS is not an address of this host."""
    address = settings.node_address
    if problem := bind_problem(address):
        yield (
            ("NODE_ADDRESS",),
            f"NODE_ADDRESS {address} is not an address of this host: "
            f"{problem.strerror}",
        )


def _check_folders(settings: Settings) -> Iterator[Finding]:
    """Yield problems of folders that are not the Console's, or unusable."""
    folder, volume = settings.data_folder, settings.data_recovery_volume
    if wrong := _belongs_to_the_system(folder) or unwritable(folder):
        yield ("DATA_FOLDER",), f"DATA_FOLDER {wrong}"
    if wrong := _is_part_of(folder, volume):
        yield ("DATA_RECOVERY_VOLUME",), f"DATA_RECOVERY_VOLUME {wrong}"
    elif settings.data_recovery_enabled and (wrong := unwritable(volume)):
        # Only a warning: a lost mount must not stop the Console.
        log.warning("no backups can be made: DATA_RECOVERY_VOLUME %s", wrong)


def _belongs_to_the_system(folder: Path) -> str | None:
    if not is_system_folder(PurePosixPath(os.path.realpath(folder))):
        return None
    return (
        f"{folder} is a folder of the system, in which others keep their files; name "
        "a folder of its own"
    )


def _is_part_of(data: Path, volume: Path) -> str | None:
    real, whole = Path(os.path.realpath(volume)), Path(os.path.realpath(data))
    part = next((p for p in DATA_PARTS if real.is_relative_to(whole / p)), None)
    if part is None:
        return None
    return (
        f"{volume} is within {data / part}, where the Console keeps other files; "
        "choose another folder"
    )


def unwritable(folder: Path) -> str | None:
    """Return why *folder* cannot be written or created; None if it can."""
    try:
        if folder.exists():
            usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
            return None if usable else f"{folder} is not a folder that can be written"
        parent = next(above for above in folder.parents if above.exists())
        # Only an attempt is reliable: for root, /proc seems to be writable.
        with tempfile.TemporaryDirectory(prefix=".twistlock-", dir=parent):
            return None
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror}"


def not_mongod(program: Path) -> str | None:
    """Return why *program* cannot be run as mongod; None if it can (in 10 s)."""
    why = why_not_mongod(program, VERSION_TIMEOUT_S)
    return why and f"{program} {why}"
