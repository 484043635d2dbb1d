"""What the Console says to one Defender, from its greeting on."""

import asyncio
import logging

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from twistlock_console.protocol import (
    HELLO_SECONDS,
    ConsoleHello,
    DefenderHello,
    Events,
    FactsChanged,
    Ping,
    Pong,
    ProtocolError,
    check_protocol,
    decode_from_defender,
    encode,
)

LONGEST_REASON = 120
log = logging.getLogger(__name__)


async def converse(
    connection: ServerConnection, greeting: ConsoleHello, defender: str
) -> None:
    """Greet the *defender* named in the certificate, then answer it until it leaves.

    A peer that breaks the protocol is told which rule, and sent away.
    """
    try:
        await connection.send(encode(greeting))
        await _be_greeted(connection, defender)
        async for frame in connection:
            await _answer(connection, frame)
    except ConnectionClosed:
        return
    except ProtocolError as error:
        log.warning("Defender %s sent away: %s", defender, error)
        await connection.close(error.code, str(error)[:LONGEST_REASON])


async def _be_greeted(connection: ServerConnection, defender: str) -> None:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = decode_from_defender(await connection.recv())
    except TimeoutError:
        raise ProtocolError("no hello came", code=1008) from None
    if not isinstance(hello, DefenderHello):
        raise ProtocolError("the first message must be a hello", code=1002)
    check_protocol(hello)
    if hello.defender != defender:
        raise ProtocolError("the hello's name is not the certificate's", code=1008)


async def _answer(connection: ServerConnection, frame: str | bytes) -> None:
    match decode_from_defender(frame):
        case Ping():
            await connection.send(encode(Pong()))
        case DefenderHello():
            raise ProtocolError("a second hello", code=1002)
        case Events() | FactsChanged():
            # Not acknowledged: the Defender keeps them.
            log.debug("nothing stores what a Defender sends yet")
