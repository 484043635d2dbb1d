"""Periodic tasks of the Defenders' server: poll, sweep, keepalive, memory check."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from pymongo.database import Database
from pymongo.errors import PyMongoError
from websockets.asyncio.server import broadcast

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.defenders import register
from twistlock_console.defenders.control import (
    poll_control_data,
    read_defender_settings,
)
from twistlock_console.defenders.event_quota import (
    EventQuota,
    read_usage,
    save_usage,
)
from twistlock_console.policies.host import read_policy
from twistlock_console.protocol import Pong, encode
from twistlock_console.servers.defenders.backpressure import ReadLimiter
from twistlock_console.servers.defenders.connection import DefenderConnection
from twistlock_console.servers.defenders.connections import ConnectionRegistry
from twistlock_console.servers.defenders.database import DatabaseExecutor, GroupCommit

POLL_INTERVAL_S = 0.5
SWEEP_INTERVAL_S = 15.0
#: Less than a Defender's timeout.
KEEPALIVE_INTERVAL_S = 2.0
MEMORY_CHECK_INTERVAL_S = 1.0
BROADCAST_BATCH_SIZE = 100
#: How long Defenders have to reconnect after a failover before they count as offline.
RECONNECT_GRACE_S = 60.0
SILENCE_TIMEOUT_S = 90.0
HOUR = 3600
COUNTERS = "defender_counters"
PONG = encode(Pong())
log = logging.getLogger(__name__)


class PeriodicTasks:
    """Polls for administrators' changes, and updates register, clock and counters.

    Each public coroutine runs for ever on the event loop.
    """

    def __init__(
        self,
        registry: ConnectionRegistry,
        commit: GroupCommit,
        quota: EventQuota,
        database: DatabaseExecutor,
        read_limiter: ReadLimiter[DefenderConnection],
    ) -> None:
        self._registry = registry
        self._read_limiter = read_limiter
        self._commit = commit
        self._quota = quota
        self._database = database
        self._opened = register.utc_now()
        self._opened_ns = boottime_ns()
        self._revoked: frozenset[str] | None = None
        self._policy_error = ""
        self._counted: Counter[str] = Counter()

    async def poll(self) -> None:
        """Load policy, revocations and commands every half second."""
        await _repeat(POLL_INTERVAL_S, self._poll)

    async def sweep(self) -> None:
        """Mark absent and silent Defenders, and save the counters, every 15 seconds."""
        await _repeat(SWEEP_INTERVAL_S, self._sweep)

    async def send_keepalives(self) -> None:
        """Send a keepalive, a pong, to paused connections every two seconds.

        Their pings are unread, and without a pong they would time out.
        """
        while True:
            await asyncio.sleep(KEEPALIVE_INTERVAL_S)
            waiting = self._read_limiter.paused
            for first in range(0, len(waiting), BROADCAST_BATCH_SIZE):
                broadcast(waiting[first : first + BROADCAST_BATCH_SIZE], PONG)
                await asyncio.sleep(0)

    async def limit_memory(self) -> None:
        """Close connections that hold memory for too long, every second."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(MEMORY_CHECK_INTERVAL_S)
            self._read_limiter.check()
            for connection in self._read_limiter.holding:
                if connection.is_too_slow(loop.time()):
                    connection.abort("a message did not arrive completely in time")

    async def _poll(self) -> None:
        registry = self._registry
        control = await self._database.run(poll_control_data)
        await self._update_quota(control.event_quota_megabytes)
        for name, command in control.commands:
            registry.carry_out(name, command)
        if control.revoked != self._revoked:
            await registry.revoke(control.revoked)
            self._revoked = control.revoked
        if control.policy_version != registry.policy_version:
            await self._update_policy()

    async def _update_quota(self, megabytes: int) -> None:
        """Load the quota's counts first; later save them, and report dropped events."""
        do, quota = self._database.run, self._quota
        quota.megabytes = megabytes
        if self._revoked is None:
            quota.load(quota.day, await do(read_usage, quota.day))
            quota.dropped.update(await do(register.read_dropped))
            self._counted["dropped"] = quota.dropped.total()
        elif unsaved := quota.take_unsaved():
            await do(save_usage, quota.day, unsaved)
        for name, count in quota.take_unreported():
            self._registry.note_dropped(name, count)

    async def _update_policy(self) -> None:
        try:
            policy = await self._database.run(read_policy)
        except ConsoleError as error:
            if str(error) != self._policy_error:
                log.error("Defenders keep their last policy: %s", error)  # noqa: TRY400
            self._policy_error = str(error)
        else:
            self._policy_error = ""
            await self._registry.set_policy(policy)

    async def _sweep(self) -> None:
        do, registry = self._database.run, self._registry
        now = await do(registry.clock.tick)
        await registry.check_all(asyncio.get_running_loop().time() - SILENCE_TIMEOUT_S)
        served = (boottime_ns() - self._opened_ns) / SECOND
        if served > RECONNECT_GRACE_S:
            at = now - served
            await do(register.mark_disconnected, registry.server, self._opened, at)
        limits = await do(read_defender_settings)
        before = now - limits.alert_hours * HOUR
        for name in await do(register.mark_alerted, before, register.utc_now()):
            log.warning("Defender %s is offline for %d h", name, limits.alert_hours)
        days = limits.disconnect_period_days
        for name in await do(register.remove_absent, now - days * 24 * HOUR):
            log.warning("Defender %s was offline for %d days: removed", name, days)
        await self._count()

    async def _count(self) -> None:
        seen = Counter(
            {
                "stored": self._commit.stored,
                "duplicates": self._commit.duplicates,
                "arrivals": self._registry.arrivals,
                "dropped": self._quota.dropped.total(),
                **{f"closed.{code}": n for code, n in self._registry.closed.items()},
            }
        )
        if new := seen - self._counted:
            await self._database.run(_add, dict(new))
            self._counted = seen


async def _repeat(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await act()
        except PyMongoError as error:
            log.warning("the database does not answer the Defenders' server: %s", error)
        await asyncio.sleep(seconds)


def _add(database: Database[dict[str, object]], counts: dict[str, int]) -> None:
    database[COUNTERS].update_one({"_id": "console"}, {"$inc": counts}, upsert=True)
