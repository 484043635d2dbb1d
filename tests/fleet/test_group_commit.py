"""What many sent is written at once, acknowledged when stored, and tried again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from twistlock_console.servers.defenders.group_commit import GroupCommit


def document(name: str) -> RawBSONDocument:
    """One that is to be stored."""
    return RawBSONDocument(bson.encode({"_id": name}))


class Database:
    """Writes down what is stored and acknowledged; a write ends when it may."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_end = asyncio.Semaphore(0)
        self.fails = 0

    async def store(self, documents: list[RawBSONDocument]) -> int:
        """Begin a write of *documents*, and end it when that is allowed."""
        self.told.append("write " + " ".join(each["_id"] for each in documents))
        await self.may_end.acquire()
        if self.fails:
            self.fails -= 1
            raise AutoReconnect("not now")
        return 0

    def acknowledge(self, name: str) -> Callable[[], None]:
        """What is to be called when *name* is stored."""
        return lambda: self.told.append(f"acknowledge {name}")

    async def until_told(self, count: int) -> list[str]:
        """Wait for so many things to happen."""
        async with asyncio.timeout(20):
            while len(self.told) < count:
                await asyncio.sleep(0.001)
        return self.told


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[GroupCommit]:
    """A group commit at work, which stores in *database*."""
    commit = GroupCommit(database.store)
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
            commit.keep([document("a")], database.acknowledge("a"))
            await database.until_told(1)
            for name in "bc":
                commit.keep([document(name)], database.acknowledge(name))
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


def test_what_nobody_waits_for_is_neither_written_nor_acknowledged() -> None:
    """Whose Defender left will be sent again; the others do not notice."""

    async def play() -> list[str]:
        database = Database()
        async with running(database) as commit:
            first = commit.keep([document("a")], database.acknowledge("a"))
            await database.until_told(1)
            second = commit.keep([document("b")], database.acknowledge("b"))
            commit.keep([document("c")], database.acknowledge("c"))
            first.abandon()
            second.abandon()
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
            commit.keep([document("a")], database.acknowledge("a"))
            await database.until_told(1)
            database.may_end.release()
            await database.until_told(2)
            before = commit.stored
            database.may_end.release()
            told = await database.until_told(3)
        return told, before

    assert asyncio.run(play()) == (["write a", "write a", "acknowledge a"], 0)
