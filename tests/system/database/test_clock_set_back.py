"""A mongod whose clock was set back may show nobody what it has; a new start helps."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from pymongo import timeout
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from plugins.ha.consensus.state import Update
from plugins.ha.controller.controller import ControlLoop
from plugins.ha.controller.health_checks import ClockMonitor
from plugins.ha.replication.replica_set import ReplicaSet
from tests.database.database_node import prepared, set_of_one
from tests.ha.observations import candidate
from tests.hosts.fake_clock import SECONDS_TO_NOTICE, FakeClock
from tests.hosts.waiting import wait_for
from twistlock_console.database.client import Client, connect, credentials_for
from twistlock_console.database.mongod import Mongod
from twistlock_console.database.mongod_run import find_mongod

pytestmark = pytest.mark.needs("faketime")
HOUR = 3600


@dataclass
class Worn:
    """A set of one whose mongod wears *clock*."""

    mongod: Mongod
    clock: FakeClock
    client: Client


@pytest.fixture
def worn(tmp_path: Path) -> Iterator[Worn]:
    settings = prepared(tmp_path / "node")
    clock = FakeClock(tmp_path / "clock")
    program = clock.worn_by(find_mongod(settings))
    settings = replace(settings, mongod_binary=program)
    login = credentials_for(settings, "cluster")
    with (
        set_of_one(settings) as mongod,
        connect(settings, login, app_name="test", timeout_ms=2000) as client,
    ):
        yield Worn(mongod, clock, client)


@pytest.fixture
def writing(worn: Worn) -> Iterator[None]:
    """Somebody writes all the time, as on a busy Console."""
    over = threading.Event()
    # Whoever waits for the journal waits for the end of the oplog, and hurries it.
    unsafe = WriteConcern(w=1, j=False)
    written = worn.client.twistlock.get_collection("written", write_concern=unsafe)

    def write() -> None:
        while not over.wait(0.01):
            with suppress(PyMongoError):
                written.insert_one({})

    thread = threading.Thread(target=write)
    thread.start()
    yield
    over.set()
    thread.join()


def test_a_stuck_member_works_again_after_a_restart(worn: Worn, writing: None) -> None:
    """The monitor starts a cooldown and restarts the database; then all is shown."""
    replica_set, control_loop, before = (
        ReplicaSet(worn.client),
        _FakeControlLoop(),
        worn.mongod.pid,
    )
    monitor = ClockMonitor(replica_set, cast(ControlLoop, control_loop), worn.mongod)

    def set_back() -> bool:
        worn.clock.set(f"+{HOUR}")
        time.sleep(SECONDS_TO_NOTICE)
        assert monitor.check() is None
        worn.clock.set("+0")
        time.sleep(SECONDS_TO_NOTICE)
        return not _shows_all(worn.client)

    # Once in a while the thread that shows entries does not wait at that moment.
    assert any(set_back() for _ in range(5))

    problem = monitor.check()

    assert problem is not None
    assert "clock" in problem
    assert "clock" in control_loop.observation.cooldown_reason
    wait_for(lambda: worn.mongod.pid not in (before, None), 20, "another mongod")
    wait_for(lambda: _shows_all(worn.client), 30, "all of it being shown")
    assert monitor.check() is None


class _FakeControlLoop:
    """Knows a member that was elected, and that nobody serves."""

    def __init__(self) -> None:
        self.observation = candidate(peers=())

    def submit(self, update: Update) -> None:
        self.observation = update(self.observation)


def _shows_all(client: Client) -> bool:
    """Whether a standby would get what the oplog has; it reads it forwards."""
    own = client.local.get_collection("oplog.rs", read_concern=ReadConcern("local"))
    try:
        with timeout(0.5):
            return own.find_one({}, {"ts": 1}, sort=[("$natural", 1)]) is not None
    except PyMongoError:
        return False
