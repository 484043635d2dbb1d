"""A Defender's next message waits until the last is stored, and its bytes count."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.fleet.defender_client import masked
from twistlock_console.common.log_bounds import LimitedLog
from twistlock_console.servers.defenders.backpressure import ReadLimiter
from twistlock_console.servers.defenders.certificate_check import (
    ConnectionsPerCertificate,
)
from twistlock_console.servers.defenders.connection import (
    FRAME_OVERHEAD_BYTES,
    MAX_FRAMES,
    MESSAGE_TIMEOUT_S,
    DefenderConnection,
    Guards,
    connections_of,
)
from twistlock_console.servers.defenders.database import DatabaseExecutor, PendingWrite
from twistlock_console.servers.defenders.handler import ProtocolHandler
from twistlock_console.servers.supervisor.fence import Fence
from twistlock_console.system.serving_permit import FOREVER, Permit

SIZE = FRAME_OVERHEAD_BYTES + 44
"""What a message counts in the queue, and while it is stored."""
EMPTY = len(bson.encode({"x": b""}))
ACK = '{"through":1,"type":"ack"}'


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.abort: Callable[[], None] = lambda: None

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_options: None

    def get_extra_info(self, _name: str) -> "Wire":
        """Be the TLS object, too."""
        return self

    def getpeercert(self, *, binary_form: bool) -> bytes:
        """Show a certificate that cannot be read."""
        del binary_form
        return b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Never."""
        return False


class Case:
    """An established connection, all of whose events are of 100 bytes."""

    def __init__(self) -> None:
        permit = Permit()
        permit.grant(1, FOREVER)
        self.read_limiter = ReadLimiter()
        guards = Guards(
            Fence(permit, node_sentinel=-1),
            self.read_limiter,
            ConnectionsPerCertificate(),
            LimitedLog(),
            asyncio.Semaphore(1),
        )
        self.wire = Wire()
        protocol = ServerProtocol(state=State.OPEN)
        self.connection = connections_of(guards)(protocol, cast(Any, None))
        self.connection.connection_made(cast(Any, self.wire))
        self.connection.request = Request("/", Headers())
        protocol.parser = protocol.parse()
        self.connection.is_established = True
        self.arrives()

    def arrives(self, size: int = SIZE) -> None:
        """Have a message arrive that counts *size* bytes."""
        self.connection.data_received(masked(b"x" * (size - FRAME_OVERHEAD_BYTES)))

    async def taken(self) -> None:
        """Take the next message from the queue."""
        await self.connection.recv()
        self.connection.begin()

    def stores(self) -> PendingWrite:
        """Have the message that was taken stored."""
        document = RawBSONDocument(bson.encode({"x": bytes(44 - EMPTY)}))
        pending = PendingWrite(
            (document,), acknowledge=lambda: self.connection.acknowledge(ACK)
        )
        self.connection.stores(pending)
        self.connection.finished()
        return pending


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
        await case.taken()
        for _ in range(4):
            pending = case.stores()
            case.arrives(SIZE + 10)
            await case.taken()
            after = asyncio.ensure_future(answered(case.connection))
            await asyncio.sleep(0)
            assert not after.done()
            assert case.read_limiter.total == SIZE + SIZE + 10

            pending.acknowledge()
            assert await after
            assert ACK.encode() in case.wire.written
            assert case.read_limiter.total == SIZE + 10
            case.wire.written = b""
            case.connection.finished()
            case.arrives()
            await case.taken()
        case.connection.finished()
        assert case.read_limiter.total == 0

    play(act)


def test_what_is_in_the_queue_counts() -> None:
    """Also when something else was dealt with meanwhile, as a ping."""

    async def act(case: Case) -> None:
        case.arrives(SIZE + 10)
        await case.taken()
        case.connection.data_received(b"\x89\x80\0\0\0\0")
        case.connection.finished()
        assert case.read_limiter.total == SIZE + 10
        await case.taken()
        case.connection.finished()
        assert case.read_limiter.total == 0

    play(act)


def test_parts_of_a_message_count_until_it_is_whole() -> None:
    """In frames, and within a frame, whatever else was dealt with meanwhile."""

    async def act(case: Case) -> None:
        await case.taken()
        first = bytearray(masked(b"x" * 44))
        first[0] = 0x01
        case.connection.data_received(bytes(first))
        case.connection.data_received(masked(b"x" * 20, announced=60))
        case.connection.finished()
        assert case.read_limiter.total == case.read_limiter.incomplete == SIZE + 20
        now = case.connection.loop.time()
        assert not case.connection.is_too_slow(now + MESSAGE_TIMEOUT_S - 1)
        assert case.connection.is_too_slow(now + MESSAGE_TIMEOUT_S + 1)

    play(act)


def test_a_flood_of_tiny_frames_is_cut_off() -> None:
    """Each takes far more memory than it has bytes."""

    async def act(case: Case) -> None:
        ended = asyncio.Event()
        case.wire.abort = ended.set
        case.connection.data_received(b"\x01\x80\0\0\0\0")
        case.connection.data_received(b"\x00\x80\0\0\0\0" * MAX_FRAMES)
        assert ended.is_set()

    play(act)


def test_a_connection_that_ends_releases_its_waits_and_messages() -> None:
    """Its message is not wanted any more, and the next is not stored."""

    async def act(case: Case) -> None:
        await case.taken()
        first = case.stores()
        case.arrives()
        second = asyncio.ensure_future(answered(case.connection))
        await asyncio.sleep(0)
        case.connection.connection_lost(None)

        assert not await second
        assert not first.is_wanted
        assert not first.documents
        assert case.read_limiter.total == 0
        assert not case.connection.storing

    play(act)


def test_an_ended_connection_is_not_counted_again() -> None:
    """What was in work when it left ends later; what was in the queue never does."""

    async def act(case: Case) -> None:
        await case.taken()
        for _ in range(4):
            case.arrives()
        case.connection.connection_lost(None)
        case.connection.finished()
        await asyncio.sleep(0)

        assert case.read_limiter.total == 0
        assert case.read_limiter.holding == []

    play(act)


def test_a_defender_that_does_not_read_its_acknowledgements_waits() -> None:
    """Else they would pile up here. Nobody else is kept waiting for it."""

    async def act(case: Case) -> None:
        await case.taken()
        case.connection.pause_writing()
        case.stores().acknowledge()
        case.arrives()
        after = asyncio.ensure_future(answered(case.connection))
        await asyncio.sleep(0)
        assert not after.done()
        assert case.connection.storing is None

        case.connection.resume_writing()
        assert await after

    play(act)


class Checks:
    """Stand in for the executor while the database is away."""

    async def run(self, *_args: object) -> None:
        """Fail."""
        raise AutoReconnect("not now")


def test_runs_of_checks_that_are_not_stored_are_not_acknowledged() -> None:
    """The connection ends, and the Defender brings them again."""

    async def act(case: Case) -> None:
        none: Any = None
        host = ProtocolHandler(
            none, none, none, cast(DatabaseExecutor, Checks()), Path()
        )
        ended = asyncio.Event()
        case.wire.abort = ended.set
        await case.taken()
        case.stores()
        host._start_storing_runs(case.connection, [], ACK)

        await ended.wait()
        assert case.connection.storing
        assert case.wire.written == b""

    play(act)
