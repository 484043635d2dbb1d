"""Honest clients beside an attack: notes when each asked, and how soon it was answered.

One JSON object a line: an answer, a session that was cut, or a port that refused after
it had accepted. The program ends when its standard input does.
"""

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.faults.asking import DEFENDER_PORT, Connection, as_defender, trusting
from tests.hostile.records import Answer, Closing, Cut
from tests.hostile.verdict import IN_TIME_MS, UNENDED
from tests.hosts.console_api import PASSWORD, USERNAME
from twistlock_console.common.clock import MILLISECOND, boottime_ns
from twistlock_console.protocol import (
    ConsoleHello,
    DefenderHello,
    decode_from_console,
    encode,
)

EVERY_S = 0.25
LOGIN_EVERY_S = 1.0
#: Each of these logs in again when the Console has forgotten its password.
PEOPLE = tuple(f"honest-{number}" for number in range(10))
FIRST_LOGIN_EVERY_S = 6.5
PORT_EVERY_S = 0.1
PORT_TIMEOUT_S = 3.0
#: So long an answer is waited for; only those within `IN_TIME_MS` count as answered.
PATIENCE_S = 60.0
PORTS = (8083, 8443, 8084)
SESSIONS = 3
NO_ANSWER = (OSError, WebSocketException, asyncio.IncompleteReadError)
Ask = Callable[[], Awaitable[int]]


class Honest:
    """Clients of the Console at *address*; *notes* is where each line goes."""

    def __init__(self, address: str, papers: Path, token: str, notes: TextIO) -> None:
        self._address = address
        self._papers = papers
        self._token = token
        self._notes = notes
        self._tls = trusting(papers)
        self._people = itertools.cycle(PEOPLE)
        self.asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            kinds: dict[str, tuple[float, Ask]] = {
                "ping": (EVERY_S, lambda: self._fresh("GET", "/_ping")),
                "initialized": (
                    EVERY_S,
                    lambda: self._fresh("GET", "/settings/initialized"),
                ),
                "users": (
                    EVERY_S,
                    lambda: self._fresh("GET", "/users", self._token),
                ),
                "login": (LOGIN_EVERY_S, lambda: self._log_in(USERNAME)),
                "first login": (
                    FIRST_LOGIN_EVERY_S,
                    lambda: self._log_in(next(self._people)),
                ),
            }
            for name, (every, ask) in kinds.items():
                group.create_task(self._repeat(name, every, ask))
            for number in range(SESSIONS):
                group.create_task(self._again(f"API session {number}", self._session))
            group.create_task(self._again("Defender", self._defender))

    async def _repeat(self, kind: str, every: float, ask: Ask) -> None:
        """Ask every so many seconds, whether or not the one before was answered."""
        while True:
            task = asyncio.create_task(self._timed(kind, ask))
            self.asking.add(task)
            task.add_done_callback(self.asking.discard)
            await asyncio.sleep(every)

    async def _timed(self, kind: str, ask: Ask) -> None:
        sent, outcome = boottime_ns(), UNENDED
        try:
            async with asyncio.timeout(PATIENCE_S):
                outcome = str(await ask())
        except (*NO_ANSWER, TimeoutError) as error:
            outcome = type(error).__name__
        finally:
            took = (boottime_ns() - sent) // MILLISECOND
            # What is in flight when the program ends counts if it is late already.
            if outcome != UNENDED or took > IN_TIME_MS:
                self.note(Answer(kind, sent, took, outcome))

    async def _fresh(
        self, method: str, path: str, token: str = "", body: str = ""
    ) -> int:
        with await Connection.open(self._address, self._tls) as connection:
            return await connection.ask(method, path, token, body)

    async def _log_in(self, username: str) -> int:
        body = json.dumps({"username": username, "password": PASSWORD})
        return await self._fresh("POST", "/authenticate", body=body)

    async def _again(self, what: str, hold: Callable[[str], Awaitable[None]]) -> None:
        """Hold a session for good; note each time that it is cut."""
        while True:
            try:
                await hold(what)
            except NO_ANSWER as error:
                self.note(Cut(what, boottime_ns(), f"{type(error).__name__}: {error}"))
                await asyncio.sleep(0.2)

    async def _session(self, what: str) -> None:
        with await Connection.open(self._address, self._tls) as connection:
            while True:
                await self._timed_on(what, connection)
                await asyncio.sleep(1.0)

    async def _timed_on(self, what: str, connection: Connection) -> None:
        sent = boottime_ns()
        async with asyncio.timeout(PATIENCE_S):
            status = await connection.ask("GET", "/users", self._token)
        took = (boottime_ns() - sent) // MILLISECOND
        self.note(Answer("API session", sent, took, str(status)))

    async def _defender(self, _what: str) -> None:
        uri = f"wss://{self._address}:{DEFENDER_PORT}"
        tls = as_defender(self._papers)
        async with connect(uri, ssl=tls, open_timeout=PATIENCE_S) as agent:
            hello = decode_from_console(await agent.recv())
            assert isinstance(hello, ConsoleHello)
            await agent.send(encode(DefenderHello(self._papers.name, hello.version)))
            while True:
                sent = boottime_ns()
                async with asyncio.timeout(PATIENCE_S):
                    await (await agent.ping())
                took = (boottime_ns() - sent) // MILLISECOND
                self.note(Answer("Defender", sent, took, "200"))
                await asyncio.sleep(EVERY_S)

    def note(self, record: Answer | Cut | Closing) -> None:
        """Write one line."""
        line = {"record": type(record).__name__, **asdict(record)}
        self._notes.write(json.dumps(line) + "\n")


async def watch_port(address: str, port: int, note: Callable[[Closing], None]) -> None:
    """Connect all the time; note when the port refuses after it accepted."""
    accepted = False
    while True:
        try:
            async with asyncio.timeout(PORT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(address, port)
            writer.transport.abort()
            accepted = True
        except ConnectionRefusedError:
            if accepted:
                note(Closing(address, port, boottime_ns()))
            accepted = False
        except (OSError, TimeoutError):
            # It is full, or the host is: that is not closed.
            pass
        await asyncio.sleep(PORT_EVERY_S)


async def run(options: argparse.Namespace, notes: TextIO) -> None:
    """Run all clients until standard input ends."""
    token = options.token.read_text()
    honest = Honest(options.address, options.papers, token, notes)
    watched = itertools.product(options.nodes, PORTS)
    tasks = [
        asyncio.create_task(honest.run()),
        *(asyncio.create_task(watch_port(*where, honest.note)) for where in watched),
    ]
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in [*tasks, *honest.asking]:
        task.cancel()
    results = await asyncio.gather(*tasks, *honest.asking, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def main() -> None:
    """Run as a program on a test host."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--papers", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--token", type=Path, required=True)
    parser.add_argument("--nodes", nargs="+", required=True)
    parser.add_argument("address")
    options = parser.parse_args()
    with options.notes.open("a", buffering=1) as notes:
        asyncio.run(run(options, notes))


if __name__ == "__main__":
    main()
