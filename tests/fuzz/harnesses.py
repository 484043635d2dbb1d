"""The harnesses by name; each is in the module of that name and imported when used."""

from importlib import import_module

from tests.fuzz.parsers import Harness, Parser

#: The packages whose coverage leads the fuzzer, by harness.
MEASURED: dict[str, tuple[str, ...]] = {
    "api_bodies": ("twistlock_console", "plugins"),
    "backup_archives": ("twistlock_console.backups", "tarfile", "gzip"),
    "certificates": ("twistlock_console", "twistlock_defender", "plugins"),
    "defender_files": ("twistlock_console", "twistlock_defender"),
    "defender_frames": ("twistlock_console", "websockets"),
    "defender_messages": ("twistlock_console", "twistlock_defender"),
    "http_requests": ("twistlock_console", "plugins", "gunicorn", "jwt"),
    "node_api": ("twistlock_console.node_api", "plugins"),
    "node_files": ("twistlock_console", "plugins"),
}
NAMES = tuple(MEASURED)


def load(name: str, *, costly: bool = False) -> Harness:
    """Return the harness *name*, with *costly* also the parsers that take long."""
    parsers: tuple[Parser, ...] = import_module(f"tests.fuzz.{name}").PARSERS
    return Harness(name, tuple(p for p in parsers if costly or not p.is_costly))
