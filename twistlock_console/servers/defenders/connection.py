"""One Defender's connection: fenced, counted, and small, for there are thousands."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, cast

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from twistlock_console.pki.certificates import Identity
from twistlock_console.protocol import ProtocolError
from twistlock_console.servers.defenders.backpressure import Intake
from twistlock_console.servers.defenders.group_commit import Parcel
from twistlock_console.servers.supervisor.fence import Fence

CHATTER_SECONDS = 10.0
MOST_CHATTER = 60
MOST_PINGS = 600
RENEWAL_SECONDS = 60.0
LONGEST_REASON = 120
READ_AHEAD = 32 * 1024
CONTROL = frozenset({Opcode.PING, Opcode.PONG})
log = logging.getLogger(__name__)


class DefenderConnection(ServerConnection):
    """Takes and gives nothing once the right to serve has ended.

    *identity* is what the certificate says, *policy* the hash of the rule that the
    Defender was last known to have, *heard* the loop's time when it last sent anything,
    *unread* whether the intake has it wait, *storing* the message that is being stored,
    *in_work* whether another is being answered or waits for that.
    """

    fence: Fence
    intake: Intake
    identity: Identity
    policy = ""
    number = 0
    heard = 0.0
    unread = False
    storing: Parcel | None = None
    in_work = False
    _settled: asyncio.Future[None] | None = None
    _unfinished = 0
    _held = 0
    _chatter = 0
    _pings = 0
    _counted_since = 0.0
    _renewable_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.fence.check()
        self.heard = self.loop.time()
        # What TLS has read and we have not counts, too.
        cast(Any, transport).set_read_buffer_limits(READ_AHEAD)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Read what arrived."""
        self.fence.check()
        self.heard = self.loop.time()
        self._unfinished += len(data)
        self.intake.received(self, len(data))
        super().data_received(data)

    def process_event(self, event: Request | Response | Frame) -> None:
        """Note that a ping was answered: that is all that most Defenders send.

        The library answers it by itself. Who sends a flood of them, and perhaps never
        reads an answer, is cut off.
        """
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode in CONTROL:
            self._count_from_now_on()
            self._pings += 1
            if self._pings > MOST_PINGS:
                log.warning("a flood of pings: cut off %s", self.remote_address)
                self.transport.abort()
            if not self.in_work:
                self.finished()

    def pause_reading(self) -> None:
        """Have nothing read: for the intake."""
        self.unread = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Have it read again, unless its own queue is full."""
        self.unread, self.heard = False, self.loop.time()
        if not self.recv_messages.paused:
            self.transport.resume_reading()

    def send_data(self) -> None:
        """Write what is to be sent."""
        self.fence.check()
        super().send_data()

    async def settled(self) -> None:
        """Wait until the last message is stored, or nobody waits for it any more."""
        if self.storing:
            self._settled = self.loop.create_future()
            await self._settled

    async def reads(self) -> bool:
        """Wait until the Defender reads what it is told; gives whether it is here."""
        if self.paused and self.state is State.OPEN:
            with suppress(OSError):
                await self.drain()
        return self.state is State.OPEN

    def stores(self, parcel: Parcel) -> None:
        """Note that a message is being stored, with the bytes that have arrived."""
        self.storing = parcel
        self.intake.begins()
        self._held, self._unfinished = self._unfinished, 0

    def acknowledge(self, text: str) -> None:
        """Send *text*, which says that the message is stored; does not wait."""
        if self.storing:
            broadcast([self], text)
            self._stored()

    def connection_lost(self, exc: Exception | None) -> None:
        """End: nobody waits for the events to be stored any more."""
        if self.storing:
            self.storing.abandon()
            self._stored()
        self._forget()
        super().connection_lost(exc)

    def finished(self) -> None:
        """Note that what arrived was dealt with, unless there is more in the queue."""
        self.in_work = False
        if not self.recv_messages.frames:
            self._forget()

    def _forget(self) -> None:
        size, self._unfinished = self._unfinished, 0
        self.intake.finished(size)

    def _stored(self) -> None:
        self.storing, self.heard = None, self.loop.time()
        self.intake.ends()
        held, self._held = self._held, 0
        self.intake.finished(held)
        waiting, self._settled = self._settled, None
        if waiting and not waiting.done():
            waiting.set_result(None)

    def count_chatter(self) -> None:
        """Count a message without events; raises ProtocolError for a flood of them."""
        self._count_from_now_on()
        self._chatter += 1
        if self._chatter > MOST_CHATTER:
            sentence = f"more than {MOST_CHATTER} messages without events in "
            raise ProtocolError(f"{sentence}{CHATTER_SECONDS:.0f} s", code=1013)

    def may_ask_for_renewal(self) -> bool:
        """Whether it may ask now; it has not for a while."""
        now = self.loop.time()
        if now < self._renewable_at:
            return False
        self._renewable_at = now + RENEWAL_SECONDS
        return True

    def _count_from_now_on(self) -> None:
        """Begin again with both counts, once their time is over."""
        now = self.loop.time()
        if now - self._counted_since > CHATTER_SECONDS:
            self._counted_since, self._chatter, self._pings = now, 0, 0


def connections_of(fence: Fence, intake: Intake) -> type[DefenderConnection]:
    """Make the kind of connection that *fence* guards and *intake* counts."""
    return type(
        "FencedConnection", (DefenderConnection,), {"fence": fence, "intake": intake}
    )
