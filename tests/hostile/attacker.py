"""Connections of an attacker: bounded in number and time, and only to test hosts."""

import asyncio
import ipaddress
import random
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Loopback, and the switch of tests/hosts; an attack on any other address is refused.
TEST_NETWORKS = ("127.0.0.0/8", "10.77.0.0/24")
CONNECT_TIMEOUT_S = 3.0
#: An attack opens about so many connections a second again that were closed.
REOPEN_RATE = 50
MIN_REOPEN_S = 0.3
#: Connections that are being opened at a time: the attacker's host has two cores.
MAX_OPENING = 100
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class NotATestHost(ValueError):
    """The address to attack is not that of a test host."""


@dataclass(frozen=True, slots=True)
class Streams:
    """One connection, and where it came from."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Close at once."""
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send *data*; raises OSError when the connection is gone."""
        self.writer.write(data)
        await self.writer.drain()


@dataclass(slots=True)
class Attacker:
    """Attacks the first of *addresses* that accepts.

    One attack comes from the host's own address, or from each of *sources* in turn.
    *papers* holds a Defender's key.pem and certificate.pem. *counts* says what came of
    the connections: by attack, and what happened.
    """

    addresses: Sequence[str]
    papers: Path
    token: str = ""
    sources: Sequence[str] = ()
    counts: Counter[str] = field(default_factory=Counter)
    _opening: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_OPENING)
    )
    #: Shows no certificate, and takes any.
    tls: ssl.SSLContext = field(init=False)
    _turn: int = 0

    def __post_init__(self) -> None:
        check_test_hosts(self.addresses)
        self.tls = _trusting_all()

    def tls_as_defender(self, papers: Path | None = None) -> ssl.SSLContext:
        """Return a context that shows the Defender's certificate."""
        folder = papers or self.papers
        context = _trusting_all()
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        return context

    async def open(
        self,
        port: int,
        tls: ssl.SSLContext | None = None,
        *,
        spread: bool = False,
        receive_bytes: int = 0,
    ) -> Streams:
        """Connect to the first address that accepts; raises OSError if none does.

        With *spread* the connection comes from the next source. With *receive_bytes*
        the kernel keeps no more than that for us to read.
        """
        source = self._next_source() if spread else ""
        refused: OSError | None = None
        for address in self.addresses:
            try:
                return await self._open((address, port), tls, source, receive_bytes)
            except OSError as error:
                refused = error
        assert refused is not None
        raise refused

    async def _open(
        self,
        target: tuple[str, int],
        tls: ssl.SSLContext | None,
        source: str,
        receive_bytes: int,
    ) -> Streams:
        async with self._opening, asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = socket.socket()
            try:
                connection.setblocking(False)
                if receive_bytes:
                    buffer = socket.SO_RCVBUF
                    connection.setsockopt(socket.SOL_SOCKET, buffer, receive_bytes)
                if source:
                    connection.bind((source, 0))
                await asyncio.get_running_loop().sock_connect(connection, target)
                name = target[0] if tls else None
                return Streams(
                    *await asyncio.open_connection(
                        sock=connection, ssl=tls, server_hostname=name, limit=8192
                    )
                )
            except BaseException:
                connection.close()
                raise

    def _next_source(self) -> str:
        if not self.sources:
            return ""
        self._turn += 1
        return self.sources[self._turn % len(self.sources)]

    async def keep(
        self, name: str, count: int, one: Callable[[], Awaitable[str]]
    ) -> None:
        """Have *count* of *one* at work until cancelled; count what each came to."""

        pause = max(MIN_REOPEN_S, count / REOPEN_RATE)

        async def again() -> None:
            while True:
                outcome = "cut"
                with suppress(*BROKEN):
                    outcome = await one()
                self.counts[f"{name}: {outcome}"] += 1
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(again())


Attack = Callable[[Attacker], Coroutine[Any, Any, None]]


def _trusting_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_test_hosts(addresses: Sequence[str]) -> None:
    """Raise NotATestHost unless all *addresses* are those of test hosts."""
    networks = [ipaddress.ip_network(network) for network in TEST_NETWORKS]
    for address in addresses:
        found = ipaddress.ip_address(address)
        if not any(found in network for network in networks):
            raise NotATestHost(f"{address} is no test host; attacks go nowhere else")


async def wait_closed(streams: Streams) -> None:
    """Read and discard until the other end closes."""
    while await streams.reader.read(65536):
        pass
