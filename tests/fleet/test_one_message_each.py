"""A Defender's next message waits until the last is stored, and its bytes count."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pymongo.errors import AutoReconnect
from websockets.asyncio.messages import Assembler
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from twistlock_console.pki.certificates import Identity
from twistlock_console.servers.defenders.backpressure import Intake
from twistlock_console.servers.defenders.connection import (
    DefenderConnection,
    connections_of,
)
from twistlock_console.servers.defenders.database_executor import Desk
from twistlock_console.servers.defenders.group_commit import Parcel
from twistlock_console.servers.defenders.handler import Host
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.system.serving_permit import FOREVER, Permit

ACK = '{"through":1,"type":"ack"}'


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.abort: Callable[[], None] = lambda: None

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_options: None

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Never."""
        return False


class Case:
    """An open connection on which 100 bytes have arrived."""

    def __init__(self) -> None:
        permit = Permit()
        permit.grant(1, FOREVER)
        self.intake = Intake(limit=50)
        kind = connections_of(Fence(permit, brain=-1), self.intake)
        self.wire = Wire()
        protocol = ServerProtocol()
        self.connection: DefenderConnection = kind(protocol, cast(Any, None))
        self.connection.transport = cast(Any, self.wire)
        self.connection.recv_messages = Assembler()
        protocol.state = State.OPEN
        self.arrives(100)

    def arrives(self, size: int) -> None:
        """Count bytes as those of a message."""
        self.connection._unfinished += size
        self.intake.received(self.connection, size)

    def stores(self) -> Parcel:
        """Have a message stored."""
        parcel = Parcel([], lambda: self.connection.acknowledge(ACK))
        self.connection.stores(parcel)
        return parcel


def play(act: Callable[[Case], Awaitable[None]]) -> None:
    """Run *act* with a case."""

    async def run() -> None:
        async with asyncio.timeout(20):
            await act(Case())

    asyncio.run(run())


async def answered(connection: DefenderConnection) -> bool:
    """Whether the next message may be stored now."""
    await connection.settled()
    return await connection.reads()


def test_each_waits_for_the_one_before() -> None:
    """The bytes of each count until it is acknowledged, and no longer."""

    async def act(case: Case) -> None:
        for number in range(4):
            parcel = case.stores()
            case.connection.finished()
            case.arrives(10)
            after = asyncio.ensure_future(answered(case.connection))
            await asyncio.sleep(0)
            assert not after.done()
            assert case.intake.unfinished == (10 if number else 100) + 10

            parcel.acknowledge()
            assert await after
            assert ACK.encode() in case.wire.written
            assert case.intake.unfinished == 10
            case.wire.written = b""
        case.connection.finished()
        assert case.intake.unfinished == 0
        assert not case.intake.is_full

    play(act)


def test_what_is_in_the_queue_counts() -> None:
    """Also when something else was dealt with meanwhile, as a ping."""

    async def act(case: Case) -> None:
        case.connection.recv_messages.put(Frame(Opcode.TEXT, b"{}"))
        case.connection.finished()
        assert case.intake.unfinished == 100
        await case.connection.recv_messages.get()
        case.connection.finished()
        assert case.intake.unfinished == 0

    play(act)


def test_who_leaves_waits_no_more_and_takes_everything_along() -> None:
    """Its message is not wanted any more, and the next is not stored."""

    async def act(case: Case) -> None:
        first = case.stores()
        case.arrives(10)
        second = asyncio.ensure_future(answered(case.connection))
        await asyncio.sleep(0)
        case.connection.connection_lost(None)

        assert not await second
        assert not first.wanted
        assert not first.documents
        assert case.intake.unfinished == 0
        assert not case.connection.storing

    play(act)


def test_who_does_not_read_its_acknowledgements_waits() -> None:
    """Else they would pile up here. Nobody else is kept waiting for it."""

    async def act(case: Case) -> None:
        case.connection.pause_writing()
        case.stores().acknowledge()
        case.arrives(100)
        after = asyncio.ensure_future(answered(case.connection))
        await asyncio.sleep(0)
        assert not after.done()
        assert not case.intake.is_full

        case.connection.resume_writing()
        assert await after

    play(act)


class Checks:
    """A desk whose database is away."""

    async def do(self, *_args: object) -> None:
        """Fail."""
        raise AutoReconnect("not now")


def test_runs_of_checks_that_are_not_stored_are_not_acknowledged() -> None:
    """The connection ends, and the Defender brings them again."""

    async def act(case: Case) -> None:
        none: Any = None
        host = Host(none, none, cast(Desk, Checks()), Path())
        case.connection.identity = cast(Identity, SimpleNamespace(common_name="d1"))
        ended = asyncio.Event()
        case.wire.abort = ended.set
        case.stores()
        host._note_runs(case.connection, [], ACK)

        await ended.wait()
        assert case.connection.storing
        assert case.wire.written == b""

    play(act)
