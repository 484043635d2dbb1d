"""The registry of connected Defenders, and the messages to them."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator

from websockets.asyncio.server import broadcast

from twistlock_console import __version__
from twistlock_console.common.log_bounds import LimitedLog
from twistlock_console.defenders import register
from twistlock_console.defenders.register import (
    ConnectedDefender,
    ServiceClock,
    ServingProcess,
    utc_now,
)
from twistlock_console.policies.host import StoredPolicy
from twistlock_console.protocol import (
    ConsoleHello,
    DefenderHello,
    FactsChanged,
    Goodbye,
    PolicyPushed,
    ProtocolError,
    Scan,
    encode,
    hash_rule,
    rule_for,
)
from twistlock_console.servers.defenders.certificate_check import CertificateCheck
from twistlock_console.servers.defenders.connection import (
    MAX_REASON_LENGTH,
    DefenderConnection,
)
from twistlock_console.servers.defenders.database import RegisterWriter

PUSH_BATCH_SIZE = 100
RETRY_AFTER_MS = 300
#: A Console takes about a thousand Defenders in a second.
SPREAD_PER_DEFENDER_MS = 1


class ConnectionRegistry:
    """Registers connections by the Defenders' names; event loop only.

    *closed* counts closed connections by code, *arrivals* hellos.
    """

    def __init__(
        self,
        server: ServingProcess,
        register_writer: RegisterWriter,
        clock: ServiceClock,
    ) -> None:
        self.greeting = encode(ConsoleHello(server.epoch, __version__, renews=True))
        self.server = server
        self.clock = clock
        self.closed: Counter[str] = Counter()
        self.arrivals = 0
        self.certificates = CertificateCheck()
        self.closings = LimitedLog()
        self._register = register_writer
        self._by_name: dict[str, DefenderConnection] = {}
        self._numbers = itertools.count(1)
        self._policy = StoredPolicy(-1, ())
        self._frames: dict[str, tuple[str, str]] = {}
        self._closing_tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def policy_version(self) -> int:
        """Return the version that is being pushed; -1 before any was read."""
        return self._policy.version

    def add(self, connection: DefenderConnection, hello: DefenderHello) -> None:
        """Add a Defender, and close an older connection of the same name.

        After a network failure the older connection may be dead, so the new one counts.
        Two hosts that use one certificate see each other in the reasons of closing.
        """
        name = connection.identity.common_name
        if older := self._by_name.get(name):
            self.send_away(older, "a newer connection with this certificate exists")
        self._by_name[name] = connection
        connection.number = next(self._numbers)
        connection.policy = hello.policy
        self.arrivals += 1
        arrival = _arrival(connection, hello)
        noted = register.connected_update(self.server, arrival, utc_now())
        self._register.put(name, "link", noted)
        if self._frames:
            self._push(connection)

    def remove(self, connection: DefenderConnection) -> None:
        """Remove a Defender; do nothing if it has a newer connection."""
        name = connection.identity.common_name
        if self._by_name.get(name) is not connection:
            return
        del self._by_name[name]
        gone = register.disconnected_update(
            self.server, name, connection.number, utc_now(), self.clock.now()
        )
        self._register.put(name, "link left", gone)

    def describe(self, connection: DefenderConnection, changed: FactsChanged) -> None:
        """Write the changed facts of a Defender to the register."""
        name = connection.identity.common_name
        self._register.put(name, "facts", register.facts_update(name, changed.facts))

    def note_dropped(self, name: str, count: int) -> None:
        """Log that a Defender is over its event quota; record the dropped *count*."""
        self.closings.write(
            f"Defender {name}",
            f"is over its quota of events of today: its events are acknowledged and "
            f"dropped until 00:00 UTC; {count} were dropped so far",
            asyncio.get_running_loop().time(),
        )
        self._register.put(name, "dropped", register.dropped_update(name, count))

    def check(self, connection: DefenderConnection) -> None:
        """Raise ProtocolError if the certificate is refused."""
        now = utc_now()
        if reason := self.certificates.refusal(connection.identity, now):
            raise ProtocolError(reason, code=1008)

    async def revoke(self, revoked: frozenset[str]) -> None:
        """Refuse the certificates with the serial numbers (hex) in *revoked*.

        No connection is opened before the first call.
        """
        self.certificates.set_revoked(revoked)
        await self.check_all()

    async def set_policy(self, policy: StoredPolicy) -> None:
        """Push *policy* to all connected Defenders."""
        frames = {"": _frame(policy.version, None)}
        for rule in policy.rules:
            pushed = PolicyPushed(policy.version, hash_rule(rule), rule)
            frames[rule.name] = (pushed.hash, encode(pushed))
        self._policy, self._frames = policy, frames
        async for connection in self._in_turns():
            self._push(connection)

    async def check_all(self, silent_since: float = 0.0) -> None:
        """Close connections with a refused certificate, and silent ones.

        Args:
            silent_since: Loop's time; who sent nothing since is silent.

        """
        async for connection in self._in_turns():
            try:
                self.check(connection)
            except ProtocolError as error:
                self.send_away(connection, str(error))
            waits = connection.storing or connection.unread
            if connection.heard < silent_since and not waits:
                self.send_away(connection, "no message arrived for too long")

    def carry_out(self, name: str, command: str) -> None:
        """Execute *command*, scan or leave; do nothing if *name* is not connected."""
        if connection := self._by_name.get(name):
            if command == "scan":
                broadcast([connection], encode(Scan()))
            else:
                self.send_away(connection, "an administrator removed this Defender")

    def send_away(self, connection: DefenderConnection, sentence: str) -> None:
        """Close a connection with code 1008 in the background."""
        closing = self.refuse(connection, ProtocolError(sentence, code=1008))
        task = asyncio.get_running_loop().create_task(closing)
        self._closing_tasks.add(task)
        task.add_done_callback(self._closing_tasks.discard)

    async def refuse(
        self, connection: DefenderConnection, error: ProtocolError
    ) -> None:
        """Close a connection with the code and reason of *error*, and count it."""
        name = f"Defender {connection.identity.common_name}"
        now = asyncio.get_running_loop().time()
        self.closings.write(name, f"connection closed: {error}", now)
        self.closed[str(error.code)] += 1
        await connection.close(error.code, _short(str(error)))

    def announce_shutdown(self) -> None:
        """Send a goodbye to all, with the time after which each should reconnect."""
        spread = max(200, len(self) * SPREAD_PER_DEFENDER_MS)
        broadcast(self._by_name.values(), encode(Goodbye(RETRY_AFTER_MS, spread)))

    def _push(self, connection: DefenderConnection) -> None:
        name = connection.identity.common_name
        rule = rule_for(name, self._policy.rules)
        wanted, frame = self._frames[rule.name if rule else ""]
        if connection.policy != wanted:
            broadcast([connection], frame)
            connection.policy = wanted
            self._register.put(name, "policy", register.policy_update(name, wanted))

    async def _in_turns(self) -> AsyncIterator[DefenderConnection]:
        for count, connection in enumerate(list(self._by_name.values()), 1):
            yield connection
            if count % PUSH_BATCH_SIZE == 0:
                await asyncio.sleep(0)


def _frame(version: int, rule: None) -> tuple[str, str]:
    pushed = PolicyPushed(version, hash_rule(rule), rule)
    return pushed.hash, encode(pushed)


def _arrival(connection: DefenderConnection, hello: DefenderHello) -> ConnectedDefender:
    peer = connection.remote_address
    return ConnectedDefender(
        name=connection.identity.common_name,
        connection=connection.number,
        address=peer[0] if peer else "",
        version=hello.version,
        policy=hello.policy,
        facts=hello.facts,
        serial=f"{connection.identity.serial:x}",
        expires=connection.identity.expires,
    )


def _short(reason: str) -> str:
    return reason.encode()[:MAX_REASON_LENGTH].decode(errors="ignore")
