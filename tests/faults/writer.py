"""Writes through the Console's API all the time, and notes what came of each write.

Each write sets the session timeout to a number of its own: the settings are a
register, and the audit trail that the Console keeps is the set of all writes. A
write tries all addresses at once and goes to the first that shakes hands over TLS;
it is sent once and never again, so that a duplicate would be the Console's.
"""

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from tests.faults.asking import Connection, trusting
from tests.faults.records import Outcome, Write
from twistlock_console.common.clock import boottime_ns

EVERY = 0.025
PATIENCE = 8.0
CONNECT_PATIENCE = 2.0
AGAIN = 0.02
MOST_AT_ONCE = 40


class Writer:
    """Writes to whichever of *addresses* serves; *ops* numbers the writes."""

    def __init__(
        self, addresses: list[str], context: ssl.SSLContext, token: str, notes: TextIO
    ) -> None:
        self._addresses = addresses
        self._context = context
        self._token = token
        self._notes = notes

    async def run(self, ops: Iterator[int], stop: asyncio.Future[str]) -> None:
        """Write until *stop* is done; returns when every write has ended."""
        writing: set[asyncio.Task[None]] = set()
        while not stop.done():
            if connection := await self._reach(stop):
                write = self._write(connection, next(ops))
                writing.add(asyncio.create_task(write))
            await asyncio.wait([stop], timeout=EVERY)
            writing = {task for task in writing if not task.done()}
            if len(writing) >= MOST_AT_ONCE:
                await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
        if writing:
            await asyncio.wait(writing)

    async def _write(self, connection: Connection, op: int) -> None:
        with connection:
            self._note(await self._send(connection, op))

    async def _reach(self, stop: asyncio.Future[str]) -> Connection | None:
        """The first connection that stands; None when *stop* came before."""
        tries = [asyncio.create_task(self._connect(a)) for a in self._addresses]
        events: list[asyncio.Future[Any]] = [*tries, stop]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        for task in tries:
            task.cancel()
        ends = await asyncio.gather(*tries, return_exceptions=True)
        stand = [end for end in ends if isinstance(end, Connection)]
        for late in stand[1:]:
            late.close()
        return stand[0] if stand else None

    async def _connect(self, address: str) -> Connection:
        while True:
            try:
                async with asyncio.timeout(CONNECT_PATIENCE):
                    return await Connection.open(address, self._context)
            except OSError:
                await asyncio.sleep(AGAIN)

    async def _send(self, connection: Connection, op: int) -> Write:
        sent, status = boottime_ns(), 0
        body = json.dumps({"sessionTimeoutSec": op})
        try:
            async with asyncio.timeout(PATIENCE):
                status = await connection.ask(
                    "POST", "/settings/logon", self._token, body
                )
        except OSError:
            status = 0
        outcome = Outcome.STORED if status == 200 else Outcome.UNKNOWN
        return Write(op, connection.address, sent, boottime_ns(), outcome, status)

    def _note(self, write: Write) -> None:
        self._notes.write(json.dumps(asdict(write)) + "\n")


async def write_all(options: argparse.Namespace, notes: TextIO) -> None:
    """Write until standard input ends."""
    context, token = trusting(options.papers), options.token.read_text()
    writer = Writer(options.addresses, context, token, notes)
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    await writer.run(count(options.first), ended)


def main() -> None:
    """Run as a program on a test host."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--papers", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--token", type=Path, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("addresses", nargs="+")
    options = parser.parse_args()
    with options.notes.open("a", buffering=1) as notes:
        asyncio.run(write_all(options, notes))


if __name__ == "__main__":
    main()
