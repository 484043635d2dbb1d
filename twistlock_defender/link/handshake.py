"""One attempt to reach a Console: connect, hear its hello, judge its epoch."""

import asyncio
import socket
import ssl
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect

from twistlock_console.protocol import (
    HELLO_SECONDS,
    LARGEST_MESSAGE,
    ConsoleHello,
    check_protocol,
    decode_from_console,
)
from twistlock_defender.common.errors import Unwelcome
from twistlock_defender.link.backoff import Target
from twistlock_defender.link.epoch import HighestEpoch

CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 1.0
# The kernel notices within 20 s that the host at the other end is gone.
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 3),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_NODELAY, 1),
)


@dataclass(frozen=True, slots=True)
class Greeted:
    """A Console at *target* that may be obeyed, under *epoch*, and what it offers."""

    connection: ClientConnection
    target: Target
    epoch: int
    renews: bool


async def greet(target: Target, tls: ssl.SSLContext, epochs: HighestEpoch) -> Greeted:
    """Connect to *target* and hear its hello.

    Raises Unwelcome, ProtocolError, OSError or what websockets raises.
    """
    reached = await _reach(target)
    connection = await connect(
        f"wss://{_host(target.name)}:{target.port}",
        sock=reached,
        server_hostname=target.name,
        ssl=tls,
        open_timeout=HELLO_SECONDS,
        ping_interval=None,
        close_timeout=CLOSE_SECONDS,
        max_size=LARGEST_MESSAGE * 4,
        compression=None,
    )
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            frame = await connection.recv()
        hello = _judge(frame, epochs)
    except BaseException:
        connection.transport.abort()
        raise
    return Greeted(connection, target, hello.epoch, hello.renews)


def _judge(frame: str | bytes, epochs: HighestEpoch) -> ConsoleHello:
    """The hello in *frame*; raises Unwelcome if its epoch is lower than one seen."""
    hello = decode_from_console(frame)
    if not isinstance(hello, ConsoleHello):
        raise Unwelcome("its first message is no hello")
    check_protocol(hello)
    if not epochs.admits(hello.epoch):
        raise Unwelcome(
            f"it serves under epoch {hello.epoch}, which is over; "
            f"epoch {epochs.value} was seen"
        )
    return hello


async def _reach(target: Target) -> socket.socket:
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    reached = socket.socket(family, socket.SOCK_STREAM)
    try:
        reached.setblocking(False)
        reached.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            reached.setsockopt(socket.IPPROTO_TCP, option, value)
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(
                reached, (target.address, target.port)
            )
    except BaseException:
        reached.close()
        raise
    return reached


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name
