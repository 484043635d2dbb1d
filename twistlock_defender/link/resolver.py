"""The addresses behind the Console's names, all of them, looked up each time anew."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Sequence

from twistlock_defender.common.errors import FolderError
from twistlock_defender.link.backoff import Target

RESOLVE_SECONDS = 1.0
PORT = 8084
log = logging.getLogger(__name__)


class Resolver:
    """Looks *addresses* (``name:port``) up; keeps the last answer of each name.

    A name server that hangs holds nothing up: names whose answer does not come are
    used as they were known.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        names = [parse(address) for address in addresses]
        self._names = [name for name in names if not _is_address(name[0])]
        self._known = {
            (name, port): [Target(name, port, name)]
            for name, port in names
            if _is_address(name)
        }
        self._asked: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._troubles: dict[str, str] = {}

    @property
    def trouble(self) -> str | None:
        """Which names cannot be resolved now; None if all can."""
        return "; ".join(self._troubles.values()) or None

    async def targets(self) -> list[Target]:
        """All addresses that are known now, each once."""
        for name in self._names:
            if name not in self._asked:
                self._asked[name] = asyncio.create_task(self._ask(*name))
        if self._asked:
            await asyncio.wait(self._asked.values(), timeout=RESOLVE_SECONDS)
        for name, asked in list(self._asked.items()):
            if asked.done():
                del self._asked[name]
            else:
                self._note(name[0], "the name server does not answer")
        return sorted({t for known in self._known.values() for t in known})

    def close(self) -> None:
        """Wait for no answer any more."""
        for asked in self._asked.values():
            asked.cancel()

    async def _ask(self, name: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            self._note(name, reason or str(error))
            return
        self._known[name, port] = [Target(str(f[4][0]), port, name) for f in found]
        self._troubles.pop(name, None)

    def _note(self, name: str, reason: str) -> None:
        sentence = f"{name} cannot be resolved: {reason}"
        if sentence != self._troubles.get(name):
            log.warning("%s", sentence)
        self._troubles[name] = sentence


def parse(address: str, usual: int = PORT) -> tuple[str, int]:
    """Read ``name:port``; brackets around an IPv6 address. Raises FolderError."""
    name, _, port = address.rpartition(":")
    if not name or (":" in name and not name.startswith("[")):
        name, port = address, str(usual)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise FolderError(f"{address!r} is not an address; write name:{usual}")
    return name.strip("[]"), int(port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
