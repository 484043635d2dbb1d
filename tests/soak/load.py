"""Stores findings at a steady rate and reads pages; prints counts once a second.

Defenders send one finding a message, 30 a second each, and count those that the Console
has acknowledged, which a majority has stored. Whoever is cut off comes back at once.
"""

import argparse
import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.faults.asking import DEFENDER_PORT, Connection, as_defender, trusting
from twistlock_console.protocol import (
    Acknowledged,
    ConsoleHello,
    DefenderHello,
    Events,
    FileEvent,
    decode_from_console,
    encode,
)

EACH_PER_SECOND = 30
PAGES = ("/settings/logon", "/high-availability", "/users", "/audits/mgmt?limit=50")
READ_EVERY = 0.2
BROKEN = (OSError, WebSocketException, asyncio.IncompleteReadError)


class Load:
    """What was stored and read so far, on the node at *address*."""

    def __init__(self, address: str, papers: Path, token: str) -> None:
        self._address = address
        self._papers = papers
        self._token = token
        self.stored = 0
        self.read = 0
        self.broken = 0

    async def run(self, defenders: int) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(defenders):
                group.create_task(self._again(self._papers / f"d{number}"))
            group.create_task(self._browse())
            group.create_task(self._tell())

    async def _again(self, papers: Path) -> None:
        sent = 0
        while True:
            try:
                sent = await self._defend(papers, sent)
            except BROKEN:
                self.broken += 1
                await asyncio.sleep(0.05)

    async def _defend(self, papers: Path, number: int) -> int:
        uri = f"wss://{self._address}:{DEFENDER_PORT}"
        async with connect(uri, ssl=as_defender(papers)) as agent:
            hello = decode_from_console(await agent.recv())
            assert isinstance(hello, ConsoleHello)
            await agent.send(encode(DefenderHello(papers.name, hello.version)))
            counting = asyncio.create_task(self._count(agent))
            clock = asyncio.get_running_loop().time
            due = clock()
            try:
                while not counting.done():
                    number += 1
                    await agent.send(encode(Events((finding(number),))))
                    due += 1 / EACH_PER_SECOND
                    await asyncio.sleep(max(0.0, due - clock()))
            finally:
                counting.cancel()
        return number

    async def _count(self, agent: ClientConnection) -> None:
        through = 0
        async for frame in agent:
            message = decode_from_console(frame)
            if isinstance(message, Acknowledged):
                self.stored += message.through - through if through else 1
                through = message.through

    async def _browse(self) -> None:
        context = trusting(self._papers / "d0")
        while True:
            try:
                with await Connection.open(self._address, context) as connection:
                    for page in PAGES * 20:
                        status = await connection.ask("GET", page, self._token)
                        self.read += status == 200
                        await asyncio.sleep(READ_EVERY)
            except BROKEN:
                self.broken += 1
                await asyncio.sleep(0.05)

    async def _tell(self) -> None:
        while True:
            counts = {"stored": self.stored, "read": self.read, "broken": self.broken}
            print(json.dumps(counts), flush=True)  # noqa: T201
            await asyncio.sleep(1)


def finding(number: int) -> FileEvent:
    """One change of a file."""
    return FileEvent(
        number=number,
        time=datetime.now(UTC),
        rule="soak",
        effect="alert",
        path=f"/etc/soak/{number % 100}",
        change="modified",
    )


def main() -> None:
    """Run as a program on a test host, until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--papers", type=Path, required=True)
    parser.add_argument("--token", type=Path, required=True)
    parser.add_argument("--defenders", type=int, required=True)
    parser.add_argument("address")
    options = parser.parse_args()
    load = Load(options.address, options.papers, options.token.read_text())
    asyncio.run(load.run(options.defenders))


if __name__ == "__main__":
    main()
