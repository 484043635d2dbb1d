"""Our mongod is kept running, and ends when it should."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.database.database_node import HERE, gone, prepared
from tests.hosts.waiting import eventually
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.bootstrap import initiate_set, wait_until_answering
from twistlock_console.database.client import connect, root_credentials
from twistlock_console.database.mongod import Mongod, next_backoff
from twistlock_console.database.mongod_run import find_mongod, wait_until_free
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import DatabaseStarted, DatabaseStopped
from twistlock_console.pki.identity_files import CLUSTER_BUNDLE
from twistlock_console.settings import Settings


class Kept:
    """A mongod with all that it said on the bus."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started: list[DatabaseStarted] = []
        self.stopped: list[DatabaseStopped] = []
        bus = Bus()
        bus.subscribe(DatabaseStarted, self.started.append)
        bus.subscribe(DatabaseStopped, self.stopped.append)
        self.mongod = Mongod(settings, bus)

    def answering(self) -> int:
        self.mongod.start()
        wait_until_answering(self.settings, 30, self.mongod)
        assert self.mongod.pid
        return self.mongod.pid

    def first_end(self) -> str:
        self.mongod.start()
        assert eventually(lambda: self.stopped)
        return self.stopped[0].reason


@pytest.fixture
def kept(settings: Settings) -> Iterator[Kept]:
    kept = Kept(settings)
    yield kept
    kept.mongod.stop()


@pytest.mark.parametrize(
    ("pause", "ran", "following"),
    [
        pytest.param(0.0, 1.0, 0.1, id="the-first-is-quick"),
        pytest.param(0.1, 1.0, 0.2, id="then-doubling"),
        pytest.param(14.0, 1.0, 15.0, id="bounded"),
        pytest.param(15.0, 30.0, 0.1, id="a-long-run-clears-the-past"),
    ],
)
def test_restarts_back_off(pause: float, ran: float, following: float) -> None:
    """A mongod that cannot live is not started without end."""
    assert next_backoff(pause, ran) == following


def test_a_killed_mongod_comes_back_with_its_data(kept: Kept) -> None:
    """A crash costs a moment, and nothing that was written."""
    before = kept.answering()
    initiate_set(kept.settings)
    root = root_credentials(kept.settings)
    with connect(kept.settings, root, app_name="test") as client:
        client.twistlock.kept.insert_one({"_id": "written"})

    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: len(kept.started) == 2)
    wait_until_answering(kept.settings, 30)

    with connect(kept.settings, root, app_name="test") as client:
        assert client.twistlock.kept.find_one() == {"_id": "written"}
    assert kept.stopped[0].reason.startswith("mongod was killed")
    assert kept.mongod.pid == kept.started[1].pid != before


def test_stop_is_graceful_and_final(kept: Kept) -> None:
    """After stop there is no process, no restart and no port; twice is as once."""
    pid = kept.answering()

    kept.mongod.stop()
    kept.mongod.stop()

    assert gone(pid)
    assert not kept.mongod.running
    assert [event.reason for event in kept.stopped] == ["mongod was stopped"]
    assert '"exitCode":0' in (kept.settings.folders.log / "mongod.log").read_text()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HERE, kept.settings.database_port), 1)


def test_it_can_be_started_again(kept: Kept) -> None:
    """stop is no end for good."""
    first = kept.answering()
    kept.mongod.stop()

    assert kept.answering() != first


def test_an_open_keyfile_is_told(kept: Kept) -> None:
    """The reason names the file and what to do."""
    (kept.settings.folders.secrets / "mongod.key").chmod(0o644)

    reason = kept.first_end()

    assert "chmod 600" in reason
    assert "mongod.key" in reason


def test_a_taken_port_is_told(kept: Kept) -> None:
    """The reason says what to do about it."""
    with socket.create_server((HERE, kept.settings.database_port)):
        reason = kept.first_end()

    assert "another program has its port" in reason


@pytest.mark.needs("mount", root=True)
def test_a_full_disk_is_told(kept: Kept) -> None:
    """The reason says that there is no room, not that the storage engine panicked."""
    database = str(kept.settings.folders.database)
    small = ["mount", "-t", "tmpfs", "-o", "size=200k", "small", database]
    subprocess.run(small, check=True)
    try:
        kept.answering()
        with suppress(DatabaseError):
            initiate_set(kept.settings)
        reason = kept.first_end()
    finally:
        kept.mongod.stop()
        subprocess.run(["umount", database], check=True)

    assert reason.startswith("mongod ended: the disk is full; free some space: ")
    assert kept.mongod.failures > 0


@pytest.fixture
def as_nobody() -> Iterator[Kept]:
    """A mongod that runs as an account which owns its folders."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = Path(folder)
        root.chmod(0o711)
        settings = prepared(root / "node")
        program = find_mongod(settings)
        wrapper = root / "mongod"
        wrapper.write_text(
            '#!/bin/sh\nchown 65534 "$2"\n'
            "exec setpriv --reuid=65534 --regid=65534 --clear-groups "
            f'--pdeathsig=KILL "{program}" "$@"\n'
        )
        wrapper.chmod(0o755)
        made = Kept(replace(settings, mongod_binary=wrapper))
        yield made
        made.mongod.stop()


def give_away(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)


@pytest.mark.needs("setpriv", root=True)
@pytest.mark.parametrize("kept_back", ["db/WiredTiger.wt", "db", "db/journal"])
def test_a_file_of_another_account_is_told(as_nobody: Kept, kept_back: str) -> None:
    """As after files were copied or restored as root."""
    node = as_nobody.settings.data_folder
    real = as_nobody.mongod.start_checks
    real.append(lambda: give_away(node))
    as_nobody.answering()
    as_nobody.mongod.stop()
    as_nobody.stopped.clear()

    def keep_back() -> None:
        give_away(node)
        os.chown(node / kept_back, 0, 0)
        (node / kept_back).chmod(0o600)

    real[:] = [keep_back]
    reason = as_nobody.first_end()

    assert "give all in the data folder to the account that runs the Console" in reason


def test_who_waits_is_told_the_reason(kept: Kept) -> None:
    """Nobody has to read the log to learn why a start failed."""
    (kept.settings.folders.certificates / CLUSTER_BUNDLE).unlink()
    kept.first_end()

    with pytest.raises(DatabaseError, match=r"did not answer .*certificate"):
        wait_until_answering(kept.settings, 0.1, kept.mongod)


def test_a_folder_in_use_is_told(kept: Kept) -> None:
    """Two mongods never share the data, and start says who has it."""
    pid = kept.answering()

    with pytest.raises(DatabaseError, match=f"process {pid}.* still uses"):
        wait_until_free(kept.settings.folders.database, 0.1)


def test_the_log_is_rotated_while_it_runs(kept: Kept) -> None:
    """mongod goes on in a new file, and the old one keeps its name with .1."""
    kept.answering()
    log = kept.settings.folders.log / "mongod.log"

    kept.mongod.rotate(max_bytes=1)

    assert eventually(lambda: log.exists() and log.stat().st_size)
    assert log.with_name("mongod.log.1").stat().st_size > 1000
    assert kept.stopped == []


BRAIN = """
import sys, time
from pathlib import Path
from twistlock_console.events.bus import Bus
from twistlock_console.database.bootstrap import wait_until_answering
from twistlock_console.database.mongod import Mongod
from twistlock_console.settings import Settings

root, port = Path(sys.argv[1]), int(sys.argv[2])
settings = Settings(node_address="127.0.0.1", data_folder=root, database_port=port)
mongod = Mongod(settings, Bus())
mongod.start()
wait_until_answering(settings, 30)
print(mongod.pid, flush=True)
time.sleep(60)
"""


def test_nothing_survives_a_killed_brain(settings: Settings) -> None:
    """mongod dies with the node, and the next node can start at once."""
    port = str(settings.database_port)
    root = str(settings.data_folder)
    brain = subprocess.Popen(
        [sys.executable, "-c", BRAIN, root, port], stdout=subprocess.PIPE
    )
    assert brain.stdout
    with brain.stdout as output:
        pid = int(output.readline())

    brain.kill()
    brain.wait()

    assert eventually(lambda: gone(pid), seconds=5)
    next_one = Kept(settings)
    try:
        assert next_one.answering() != pid
    finally:
        next_one.mongod.stop()
    assert Path(root, "db", "mongod.lock").exists()
