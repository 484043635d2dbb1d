"""The Defender's one websocket to the Console, over mutual TLS 1.3.

It tries every address of every name in turn, so that round robin DNS leads to the
node that serves; the first retry comes at once, later ones back off.
"""

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from twistlock_console.protocol import (
    ConsoleHello,
    DefenderHello,
    Ping,
    ProtocolError,
    check_protocol,
    decode_from_console,
    encode,
)
from twistlock_defender.epoch import HighestEpoch

CONNECT_SECONDS = 3.0
PING_SECONDS = 10.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 15.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """What `twistlock-defender status` shows; *since* is a time of day in UTC."""

    connected: str | None
    since: str
    epoch: int
    error: str | None = None


class Link:
    """Keeps *defender* connected to one of *addresses*, with the papers in *folder*."""

    def __init__(
        self, defender: str, version: str, addresses: Sequence[str], folder: Path
    ) -> None:
        self._hello = DefenderHello(defender, version)
        self._addresses = addresses
        self._epoch = HighestEpoch(folder / "epoch")
        self._status = folder / "status.json"
        self._tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        pauses = _pauses()
        while True:
            for address in self._addresses:
                if await self._visit(address):
                    pauses = _pauses()
            await asyncio.sleep(next(pauses))

    async def _visit(self, address: str) -> bool:
        """Stay with the Console at *address*; says whether it took us in at all."""
        welcome = False
        uri = f"wss://{address}"
        try:
            async with connect(
                uri, ssl=self._tls, open_timeout=CONNECT_SECONDS, compression=None
            ) as connection:
                await self._greet(connection, address)
                welcome = True
                await self._stay(connection)
        except (OSError, WebSocketException, ProtocolError) as error:
            log.info("%s: %s", address, error)
            self._tell(None, str(error))
        return welcome

    async def _greet(self, connection: ClientConnection, address: str) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            hello = decode_from_console(await connection.recv())
        if not isinstance(hello, ConsoleHello):
            raise ProtocolError("the first message must be a hello", code=1002)
        check_protocol(hello)
        if not self._epoch.admits(hello.epoch):
            raise ProtocolError(
                f"{address} serves under epoch {hello.epoch}, which is over; "
                f"epoch {self._epoch.value} was seen",
                code=1008,
            )
        await connection.send(encode(self._hello))
        log.info("connected to %s, epoch %d", address, hello.epoch)
        self._tell(address, None)

    async def _stay(self, connection: ClientConnection) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await connection.send(encode(Ping()))
            async with asyncio.timeout(CONNECT_SECONDS):
                decode_from_console(await connection.recv())

    def _tell(self, address: str | None, error: str | None) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = Status(address, now, self._epoch.value, error)
        new = self._status.with_suffix(".new")
        new.write_text(json.dumps(asdict(status)) + "\n")
        new.replace(self._status)


def _pauses() -> Iterator[float]:
    """A first pause of 0.1-0.5 s, then twice as long each time, with jitter."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(1, 5)  # noqa: S311  spreads agents, no secret
        pause = min(2 * pause, LONGEST_PAUSE / 5)
