"""What the websocket server does again and again beside its conversations."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, cast

from pymongo.database import Database
from pymongo.errors import PyMongoError
from websockets.asyncio.server import broadcast

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.defenders import register
from twistlock_console.defenders.control_data import take_news
from twistlock_console.defenders.event_quota import (
    EventQuota,
    read_usage,
    save_usage,
)
from twistlock_console.defenders.settings import read_defender_settings
from twistlock_console.policies.host import read_policy
from twistlock_console.protocol import Pong, encode
from twistlock_console.servers.defenders.backpressure import Intake
from twistlock_console.servers.defenders.connection import DefenderConnection
from twistlock_console.servers.defenders.connections import Fleet
from twistlock_console.servers.defenders.database_executor import Desk
from twistlock_console.servers.defenders.group_commit import GroupCommit

LOOK_SECONDS = 0.5
SWEEP_SECONDS = 15.0
#: Less than a Defender's patience.
REASSURE_SECONDS = 2.0
MEMORY_CHECK_INTERVAL_S = 1.0
AT_ONCE = 100
#: How long Defenders have to come back after a failover before they count as away.
SETTLE_SECONDS = 60.0
SILENCE_SECONDS = 90.0
HOUR = 3600
COUNTERS = "defender_counters"
PONG = encode(Pong())
log = logging.getLogger(__name__)


class Housekeeping:
    """Looks for what the pages changed, and keeps register, clocks and counters."""

    def __init__(
        self,
        fleet: Fleet,
        commit: GroupCommit,
        quota: EventQuota,
        desk: Desk,
        intake: Intake,
    ) -> None:
        self._fleet = fleet
        self._intake = intake
        self._commit = commit
        self._quota = quota
        self._desk = desk
        self._opened = register.present_time()
        self._opened_ns = boottime_ns()
        self._revoked: frozenset[str] | None = None
        self._told = ""
        self._counted: Counter[str] = Counter()

    async def look(self) -> None:
        """Every half second: policy, revocations and orders; within a second."""
        await _again(LOOK_SECONDS, self._look)

    async def sweep(self) -> None:
        """Every quarter of a minute: who is away, who was silent, and the counters."""
        await _again(SWEEP_SECONDS, self._sweep)

    async def reassure(self) -> None:
        """Every two seconds: tell whom we do not read now that we are here.

        Their pings lie unread, and they would take us for gone.
        """
        while True:
            await asyncio.sleep(REASSURE_SECONDS)
            waiting = cast(list[DefenderConnection], self._intake.paused)
            for first in range(0, len(waiting), AT_ONCE):
                broadcast(waiting[first : first + AT_ONCE], PONG)
                await asyncio.sleep(0)

    async def limit_memory(self) -> None:
        """Every second: close connections that hold memory for too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(MEMORY_CHECK_INTERVAL_S)
            self._intake.check()
            for source in self._intake.holding:
                connection = cast(DefenderConnection, source)
                if connection.is_too_slow(loop.time()):
                    connection.abort("a message did not arrive whole in time")

    async def _look(self) -> None:
        do, fleet = self._desk.do, self._fleet
        news = await do(take_news)
        await self._keep_quota(news.event_quota_megabytes)
        for name, order in news.orders:
            fleet.order(name, order)
        if news.revoked != self._revoked:
            await fleet.revoke(news.revoked)
            self._revoked = news.revoked
        if news.policy_version != fleet.policy_version:
            await self._learn_policy()

    async def _keep_quota(self, megabytes: int) -> None:
        """Load the quota's counts at first; save them, and report what was dropped."""
        do, quota = self._desk.do, self._quota
        quota.megabytes = megabytes
        if self._revoked is None:
            quota.load(quota.day, await do(read_usage, quota.day))
            quota.dropped.update(await do(register.read_dropped))
            self._counted["dropped"] = quota.dropped.total()
        elif unsaved := quota.take_unsaved():
            await do(save_usage, quota.day, unsaved)
        for name, count in quota.take_unreported():
            self._fleet.note_dropped(name, count)

    async def _learn_policy(self) -> None:
        try:
            policy = await self._desk.do(read_policy)
        except ConsoleError as error:
            if str(error) != self._told:
                log.error("Defenders go on with their policy: %s", error)  # noqa: TRY400
            self._told = str(error)
        else:
            self._told = ""
            await self._fleet.learn(policy)

    async def _sweep(self) -> None:
        do, fleet = self._desk.do, self._fleet
        now = await do(fleet.clock.tick)
        await fleet.check_all(asyncio.get_running_loop().time() - SILENCE_SECONDS)
        served = (boottime_ns() - self._opened_ns) / SECOND
        if served > SETTLE_SECONDS:
            at = now - served
            await do(register.mark_away, fleet.server, self._opened, at)
        limits = await do(read_defender_settings)
        before = now - limits.alert_hours * HOUR
        for name in await do(register.mark_alerted, before, register.present_time()):
            log.warning("Defender %s is away for %d h", name, limits.alert_hours)
        days = limits.disconnect_period_days
        for name in await do(register.remove_absent, now - days * 24 * HOUR):
            log.warning("Defender %s was away for %d days and is removed", name, days)
        await self._count()

    async def _count(self) -> None:
        seen = Counter(
            {
                "stored": self._commit.stored,
                "duplicates": self._commit.duplicates,
                "arrivals": self._fleet.arrivals,
                "dropped": self._quota.dropped.total(),
                **{f"closed.{code}": n for code, n in self._fleet.closed.items()},
            }
        )
        if new := seen - self._counted:
            await self._desk.do(_add, dict(new))
            self._counted = seen


async def _again(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await act()
        except PyMongoError as error:
            log.warning("the database does not answer the Defenders' server: %s", error)
        await asyncio.sleep(seconds)


def _add(database: Database[dict[str, Any]], counts: dict[str, int]) -> None:
    database[COUNTERS].update_one({"_id": "console"}, {"$inc": counts}, upsert=True)
