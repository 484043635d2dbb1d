"""Find the serving Console: resolve its names and try all addresses concurrently.

A new attempt starts when one fails, or STAGGER_S after the last start, so that no
unreachable address delays the others. The first successful handshake with an accepted
epoch wins; the other attempts are cancelled. Compare RFC 8305 (Happy Eyeballs).
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
from twistlock_defender.link.backoff import Target, backoff_s, shuffle, targets_to_try

DEFAULT_PORT = 8084
RESOLVE_TIMEOUT_S = 1.0
STAGGER_S = 0.25
T = TypeVar("T")
log = logging.getLogger(__name__)


class Resolver:
    """Resolves *addresses* (``name:port``); caches the last result of each name.

    A name server that hangs causes a delay of RESOLVE_TIMEOUT_S at most: then the
    cached result is used.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        names = [parse_address(address) for address in addresses]
        self._names = [name for name in names if not _is_address(name[0])]
        self._known = {
            (name, port): [Target(name, port, name)]
            for name, port in names
            if _is_address(name)
        }
        self._queries: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}

    @property
    def problem(self) -> str | None:
        """Return a sentence on names that cannot be resolved; None if all can."""
        return "; ".join(self._problems.values()) or None

    async def targets(self) -> list[Target]:
        """Resolve all names; return all known addresses, each once."""
        for name in self._names:
            if name not in self._queries:
                self._queries[name] = asyncio.create_task(self._resolve(*name))
        if self._queries:
            await asyncio.wait(self._queries.values(), timeout=RESOLVE_TIMEOUT_S)
        for name, asked in list(self._queries.items()):
            if asked.done():
                del self._queries[name]
            else:
                self._record_problem(name[0], "the name server does not answer")
        return sorted({t for known in self._known.values() for t in known})

    def close(self) -> None:
        """Cancel all queries."""
        for asked in self._queries.values():
            asked.cancel()

    async def _resolve(self, name: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            self._record_problem(name, reason or str(error))
            return
        self._known[name, port] = [Target(str(f[4][0]), port, name) for f in found]
        self._problems.pop(name, None)

    def _record_problem(self, name: str, reason: str) -> None:
        sentence = f"{name} cannot be resolved: {reason}"
        if sentence != self._problems.get(name):
            log.warning("%s", sentence)
        self._problems[name] = sentence


def parse_address(address: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Parse ``name:port``, with brackets around IPv6 addresses. Raises FolderError."""
    name, _, port = address.rpartition(":")
    if not name or (":" in name and not name.startswith("[")):
        name, port = address, str(default_port)
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise FolderError(
            f"{address[:100]!r} is not an address; write name:{default_port}"
        )
    return name.strip("[]"), int(port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class AddressSource(Protocol):
    """A source of addresses, such as `Resolver`."""

    async def targets(self) -> list[Target]:
        """Return all known addresses."""


class Dialer(Generic[T]):
    """Tries the addresses of *names* with *attempt* until one succeeds.

    *attempt* returns None for a failure, which it reports itself. *discard* gets the
    results of further successful attempts, and those for which *is_current* is false:
    several attempts may succeed, and one may outdate another.
    """

    def __init__(
        self,
        names: AddressSource,
        attempt: Callable[[Target], Awaitable[T | None]],
        is_current: Callable[[T], bool],
        discard: Callable[[T], object],
    ) -> None:
        self._names = names
        self._attempt = attempt
        self._is_current = is_current
        self._discard = discard
        self._attempts: dict[asyncio.Task[T | None], tuple[Target, float]] = {}

    async def dial(self, failed_attempts: int) -> T:
        """Return the result of the first successful attempt, however long it takes.

        *failed_attempts* is the number of failures in a row before this call.
        """
        try:
            while True:
                if (found := await self._start_attempts()) is not None:
                    return found
                seconds = backoff_s(failed_attempts, random.random())  # noqa: S311  no secret
                if (
                    found := await self._wait_for_success(seconds, every=True)
                ) is not None:
                    return found
                failed_attempts += 1
        finally:
            await self._cancel_others()

    async def _start_attempts(self) -> T | None:
        targets = await self._names.targets()
        ages: dict[Target, list[float]] = {}
        for target, began in self._attempts.values():
            ages.setdefault(target, []).append(boottime() - began)
        chances = [random.random() for _ in targets]  # noqa: S311  no secret
        for target in targets_to_try(shuffle(targets, chances), ages):
            task = asyncio.ensure_future(self._attempt(target))
            self._attempts[task] = (target, boottime())
            if (found := await self._wait_for_success(STAGGER_S)) is not None:
                return found
        return None

    async def _cancel_others(self) -> None:
        for task in self._attempts:
            task.cancel()
        results = await asyncio.gather(*self._attempts, return_exceptions=True)
        self._attempts.clear()
        for result in results:
            if result is not None and not isinstance(result, BaseException):
                self._discard(result)

    async def _wait_for_success(
        self, seconds: float, *, every: bool = False
    ) -> T | None:
        """Wait *seconds* for a success; unless *every*, return when an attempt ends."""
        end = boottime() + seconds
        while (left := end - boottime()) > 0:
            if not self._attempts:
                await asyncio.sleep(left if every else 0)
                return None
            done, _ = await asyncio.wait(
                self._attempts, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del self._attempts[task]
                if (found := task.result()) is not None:
                    if self._is_current(found):
                        return found
                    self._discard(found)
            if done and not every:
                return None
        return None
