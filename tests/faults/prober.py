"""Asks every node all the time whether it serves, and notes each answer.

Three ways a node: over a kept TLS connection every 5 ms, over fresh ones ten times a
second, and over a Defender's websocket. Requests to a node that hangs stay in its
sockets, as those of real users would, so that a thawed node finds them there.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.faults.asking import DEFENDER_PORT, Connection, as_defender, trusting
from tests.faults.records import Answer
from twistlock_console.common.clock import boottime_ns
from twistlock_console.protocol import (
    ConsoleHello,
    DefenderHello,
    decode_from_console,
    encode,
)

KEPT_EVERY = 0.005
FRESH_EVERY = 0.1
FRAME_EVERY = 0.05
PATIENCE = 15.0
NAME = "prober"
NO_ANSWER = (OSError, WebSocketException, asyncio.IncompleteReadError)


class Prober:
    """Probes one node at *address* and writes its answers to *notes*."""

    def __init__(self, address: str, papers: Path, notes: TextIO) -> None:
        self._address = address
        self._trusting = trusting(papers)
        self._as_defender = as_defender(papers)
        self._notes = notes
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Probe until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again(self._keep, KEPT_EVERY))
            group.create_task(self._again(self._hold_websocket, FRAME_EVERY))
            group.create_task(self._freshly())

    async def _again(self, probe: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                await probe()
            except NO_ANSWER:
                await asyncio.sleep(pause)

    async def _keep(self) -> None:
        async with asyncio.timeout(PATIENCE):
            connection = await Connection.open(self._address, self._trusting)
        with connection:
            while True:
                await self._ping("kept", connection)
                await asyncio.sleep(KEPT_EVERY)

    async def _freshly(self) -> None:
        while True:
            task = asyncio.create_task(self._fresh())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(FRESH_EVERY)

    async def _fresh(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await Connection.open(self._address, self._trusting)
            with connection:
                await self._ping("fresh", connection)
        except NO_ANSWER:
            return

    async def _ping(self, way: str, connection: Connection) -> None:
        sent = boottime_ns()
        async with asyncio.timeout(PATIENCE):
            status = await connection.ask("GET", "/_ping")
        if status == 200:
            self._note(Answer(way, self._address, sent, boottime_ns()))

    async def _hold_websocket(self) -> None:
        sent = boottime_ns()
        uri = f"wss://{self._address}:{DEFENDER_PORT}"
        async with connect(uri, ssl=self._as_defender, open_timeout=PATIENCE) as agent:
            hello = decode_from_console(await agent.recv())
            assert isinstance(hello, ConsoleHello)
            way = "websocket"
            while True:
                now = boottime_ns()
                self._note(Answer(way, self._address, sent, now, hello.epoch))
                if way == "websocket":
                    await agent.send(encode(DefenderHello(NAME, hello.version)))
                    way = "frame"
                await asyncio.sleep(FRAME_EVERY)
                sent = boottime_ns()
                # A frame of the websocket's own: the Console takes few messages that
                # carry no events from one Defender, and this is far more often.
                await (await agent.ping())

    def _note(self, answer: Answer) -> None:
        self._notes.write(json.dumps(asdict(answer)) + "\n")


async def probe_all(addresses: list[str], papers: Path, notes: TextIO) -> None:
    """Probe every address until standard input ends."""
    probers = [
        asyncio.create_task(Prober(address, papers, notes).run())
        for address in addresses
    ]
    await asyncio.to_thread(sys.stdin.read)
    for prober in probers:
        prober.cancel()
    await asyncio.gather(*probers, return_exceptions=True)


def main() -> None:
    """Run as a program on a test host."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--papers", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("addresses", nargs="+")
    options = parser.parse_args()
    with options.notes.open("a", buffering=1) as notes:
        asyncio.run(probe_all(options.addresses, options.papers, notes))


if __name__ == "__main__":
    main()
