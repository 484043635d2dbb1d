"""What many sent is written at once, acknowledged when stored, and tried again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from twistlock_console.defenders.event_quota import DroppedEvents, EventQuota
from twistlock_console.servers.defenders.database import GroupCommit, PendingWrite
from twistlock_console.servers.defenders.fair_queue import MAX_SHARE_BYTES


def document(name: str) -> RawBSONDocument:
    """One that is to be stored."""
    return RawBSONDocument(bson.encode({"_id": name}))


class Database:
    """Writes down what is stored and acknowledged; a write ends when it may."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_end = asyncio.Semaphore(0)
        self.fails = 0
        self.duplicates: list[int] = []

    async def store(
        self, documents: list[RawBSONDocument], dropped: list[DroppedEvents]
    ) -> list[int]:
        """Begin a write of *documents*, and end it when that is allowed."""
        what = [str(each["_id"]) for each in documents]
        what += [f"drop {each.numbers}" for each in dropped]
        self.told.append("write " + " ".join(what))
        await self.may_end.acquire()
        if self.fails:
            self.fails -= 1
            raise AutoReconnect("not now")
        return self.duplicates

    def pending(self, name: str, *documents: RawBSONDocument) -> PendingWrite:
        """A message of the Defender *name*, with one document if not with others."""
        return PendingWrite(
            documents or (document(name),),
            defender=name,
            acknowledge=lambda: self.told.append(f"acknowledge {name}"),
        )

    async def until_told(self, count: int) -> list[str]:
        """Wait for so many things to happen."""
        async with asyncio.timeout(20):
            while len(self.told) < count:
                await asyncio.sleep(0.001)
        return self.told


@asynccontextmanager
async def running(
    database: Database, quota: EventQuota | None = None
) -> AsyncIterator[GroupCommit]:
    """A group commit at work, which stores in *database*."""
    commit = GroupCommit(database.store, quota or EventQuota(1))
    task = asyncio.create_task(commit.run())
    try:
        yield commit
    finally:
        task.cancel()


def test_all_of_a_write_are_acknowledged_before_the_next_begins() -> None:
    """What comes during a write goes into the next one together."""

    async def play() -> list[str]:
        database = Database()
        async with running(database) as commit:
            commit.enqueue(database.pending("a"))
            await database.until_told(1)
            for name in "bc":
                commit.enqueue(database.pending(name))
            database.may_end.release()
            await database.until_told(3)
            database.may_end.release()
            return await database.until_told(5)

    assert asyncio.run(play()) == [
        "write a",
        "acknowledge a",
        "write b c",
        "acknowledge b",
        "acknowledge c",
    ]


def test_a_cancelled_write_is_neither_stored_nor_acknowledged() -> None:
    """Whose Defender left will be sent again; the others do not notice."""

    async def play() -> list[str]:
        database = Database()
        async with running(database) as commit:
            first = commit.enqueue(database.pending("a"))
            await database.until_told(1)
            second = commit.enqueue(database.pending("b"))
            commit.enqueue(database.pending("c"))
            first.cancel()
            second.cancel()
            database.may_end.release()
            await database.until_told(2)
            database.may_end.release()
            return await database.until_told(3)

    assert asyncio.run(play()) == ["write a", "write c", "acknowledge c"]


def test_what_could_not_be_stored_is_tried_again_and_not_acknowledged() -> None:
    """The same documents, until the database takes them."""

    async def play() -> tuple[list[str], int]:
        database = Database()
        database.fails = 1
        async with running(database) as commit:
            commit.enqueue(database.pending("a"))
            await database.until_told(1)
            database.may_end.release()
            await database.until_told(2)
            before = commit.stored
            database.may_end.release()
            told = await database.until_told(3)
        return told, before

    assert asyncio.run(play()) == (["write a", "write a", "acknowledge a"], 0)


def test_a_large_message_shares_the_writes_with_small_ones() -> None:
    """It is acknowledged when its last part is stored; the small one before."""

    async def play() -> list[str]:
        database = Database()
        parts = [
            RawBSONDocument(bson.encode({"_id": name, "text": "x" * MAX_SHARE_BYTES}))
            for name in ("a1", "a2", "a3")
        ]
        async with running(database) as commit:
            commit.enqueue(database.pending("a", *parts))
            await database.until_told(1)
            commit.enqueue(database.pending("b"))
            for _ in range(3):
                database.may_end.release()
            return await database.until_told(5)

    told = asyncio.run(play())
    assert told == [
        "write a1",
        "write a2 b",
        "acknowledge b",
        "write a3",
        "acknowledge a",
    ]


def test_what_is_stored_is_charged_and_what_was_there_is_not() -> None:
    """To the Defender that sent it; dropped events are counted when that is stored."""

    async def play() -> tuple[EventQuota, list[str]]:
        database, quota = Database(), EventQuota(1)
        database.duplicates = [1]
        async with running(database, quota) as commit:
            only_dropped = database.pending("c")
            only_dropped.documents = ()
            only_dropped.dropped = DroppedEvents("c", quota.day, (7, 8), 1)
            for each in (
                database.pending("a", document("a1"), document("a2")),
                database.pending("b"),
                only_dropped,
            ):
                commit.enqueue(each)
            database.may_end.release()
            return quota, await database.until_told(4)

    quota, told = asyncio.run(play())
    size = len(document("a1").raw)
    assert told[0] == "write a1 a2 b drop (7, 8)"
    assert told[1:] == [f"acknowledge {name}" for name in "abc"]
    assert {name: quota.used(name) for name in "abc"} == {
        "a": size,
        "b": len(document("b").raw),
        "c": 0,
    }
    assert quota.take_unreported() == [("c", 2)]
