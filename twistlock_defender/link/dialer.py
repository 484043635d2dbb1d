"""Finds the Console that serves: resolves its names, and tries all addresses.

A new attempt begins as soon as one fails, or a moment after the last began, so that no
dead address delays the others. The first Console that greets us with an epoch we may
obey wins; the other attempts end.
"""

import asyncio
import ipaddress
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from twistlock_defender.common.clock import boottime
from twistlock_defender.common.errors import FolderError
from twistlock_defender.link.backoff import Target, due, in_turn, pause

PORT = 8084
RESOLVE_SECONDS = 1.0
STAGGER_SECONDS = 0.25
T = TypeVar("T")
log = logging.getLogger(__name__)


class Resolver:
    """Resolves *addresses* (``name:port``); keeps the last answer of each name.

    A name server that hangs delays nothing: names whose answer does not come are used
    as they were known.
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
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """Return which names cannot be resolved now; None if all can."""
        return "; ".join(self._problems.values()) or None

    async def targets(self) -> list[Target]:
        """Return all addresses that are known now, each once."""
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
        """Cancel all queries."""
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
        self._problems.pop(name, None)

    def _note(self, name: str, reason: str) -> None:
        sentence = f"{name} cannot be resolved: {reason}"
        if sentence != self._problems.get(name):
            log.warning("%s", sentence)
        self._problems[name] = sentence


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


class Names(Protocol):
    """A source of addresses; see `Resolver`."""

    async def targets(self) -> list[Target]:
        """Return all addresses that are known now."""


class Dialer(Generic[T]):
    """Tries what *names* gives with *attempt*, which reports its failures itself.

    *discard* gets the result of a second successful attempt, and one for which
    *stands* is false: several may succeed at once, and one may outdate another.
    """

    def __init__(
        self,
        names: Names,
        attempt: Callable[[Target], Awaitable[T | None]],
        stands: Callable[[T], bool],
        discard: Callable[[T], object],
    ) -> None:
        self._names = names
        self._attempt = attempt
        self._stands = stands
        self._discard = discard
        self._began: dict[asyncio.Task[T | None], tuple[Target, float]] = {}

    async def dial(self, round_: int) -> T:
        """Return the result of the first successful attempt, however long that takes.

        *round_* says how many rounds failed just before.
        """
        try:
            while True:
                if (found := await self._round()) is not None:
                    return found
                seconds = pause(round_, random.random())  # noqa: S311  no secret
                if (found := await self._settle(seconds, every=True)) is not None:
                    return found
                round_ += 1
        finally:
            await self._end_others()

    async def _round(self) -> T | None:
        targets = await self._names.targets()
        ages: dict[Target, list[float]] = {}
        for target, began in self._began.values():
            ages.setdefault(target, []).append(boottime() - began)
        chances = [random.random() for _ in targets]  # noqa: S311  no secret
        for target in due(in_turn(targets, chances), ages):
            task = asyncio.ensure_future(self._attempt(target))
            self._began[task] = (target, boottime())
            if (found := await self._settle(STAGGER_SECONDS)) is not None:
                return found
        return None

    async def _end_others(self) -> None:
        for task in self._began:
            task.cancel()
        results = await asyncio.gather(*self._began, return_exceptions=True)
        self._began.clear()
        for result in results:
            if result is not None and not isinstance(result, BaseException):
                self._discard(result)

    async def _settle(self, seconds: float, *, every: bool = False) -> T | None:
        """Wait for a success; without *every* until one attempt has ended."""
        end = boottime() + seconds
        while (left := end - boottime()) > 0:
            if not self._began:
                await asyncio.sleep(left if every else 0)
                return None
            done, _ = await asyncio.wait(
                self._began, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del self._began[task]
                if (found := task.result()) is not None:
                    if self._stands(found):
                        return found
                    self._discard(found)
            if done and not every:
                return None
        return None
