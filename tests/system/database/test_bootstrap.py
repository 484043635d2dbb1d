"""A member's first start, and every start after it."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from pymongo.errors import OperationFailure

from tests.database.database_node import HERE, prepared
from tests.hosts.ports import free_port
from twistlock_console.common.atomic_files import write_secret
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database import bootstrap
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.client import connect, credentials_for, root_credentials
from twistlock_console.database.mongod import Mongod
from twistlock_console.database.mongod_sockets import shut_down_connections_to
from twistlock_console.events.bus import Bus
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.settings import Settings


def test_secrets_are_made_once(settings: Settings) -> None:
    """A second start keeps them; the keyfile is fit for mongod, all are private."""
    folder = settings.folders.secrets
    before = {path.name: path.read_text() for path in folder.iterdir()}

    prepare_secrets(settings.folders)

    after = {path.name: path.read_text() for path in folder.iterdir()}
    names = {"mongod.key", "console.password", "cluster.password", "session.key"}
    assert set(before) == names
    assert after == before
    assert re.fullmatch("[A-Za-z0-9+/=]{6,1024}", after["mongod.key"])
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_silent_database_is_told(settings: Settings) -> None:
    """Waiting ends, and says where to look."""
    with pytest.raises(DatabaseError, match=r"within 0\.1 s: see .*mongod\.log"):
        wait_until_answering(settings, 0.1)


def test_the_first_steps_may_be_repeated(running: Settings) -> None:
    """Each start runs them again, and changes nothing."""
    assert initiate_set(running)
    create_users(running)


def test_the_set_has_the_measured_timing(running: Settings) -> None:
    """How soon majority writes come back after a black hole hangs on these."""
    with connect(running, root_credentials(running), app_name="test") as client:
        config = client.admin.command("replSetGetConfig")["config"]

    told = {key: config["settings"][key] for key in TIMING}
    assert told == TIMING
    assert [member["votes"] for member in config["members"]] == [1]


TIMING = {
    "electionTimeoutMillis": 3000,
    "heartbeatIntervalMillis": 500,
    "heartbeatTimeoutSecs": 1,
    "catchUpTimeoutMillis": 0,
    "chainingAllowed": False,
}


def test_a_new_password_file_is_taken_over(running: Settings) -> None:
    """A file restored from elsewhere does not lock the Console out."""
    file = running.folders.secrets / "console.password"
    before = file.read_bytes()
    try:
        write_secret(file, b"another-password")
        create_users(running)

        me = credentials_for(running, "console")
        with connect(running, me, app_name="test") as client:
            assert client.twistlock.none.find_one() is None
    finally:
        write_secret(file, before)
        create_users(running)


def test_a_member_that_still_reads_its_configuration_is_not_a_new_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has none to tell, and takes none: it is asked until it knows."""
    three = {"config": {"members": [{"host": f"10.0.0.{n}:27017"} for n in (1, 2, 3)]}}
    unread = OperationFailure("no replset config has been received", 94)
    known = OperationFailure("already initialized", 23)
    member = MagicMock()
    member.__enter__.return_value = member
    member.admin.command.side_effect = [unread, known, unread, known, three]
    monkeypatch.setattr(bootstrap, "connect", lambda *_, **__: member)

    assert not initiate_set(settings)
    asked = [call.args[0] for call in member.admin.command.call_args_list]
    assert asked == ["replSetGetConfig", "replSetInitiate"] * 2 + ["replSetGetConfig"]


def test_a_broken_connection_is_no_failure(running: Settings) -> None:
    """A member that changes its state closes all of them: it is asked again."""
    ended = threading.Event()
    cut = []

    def cut_all() -> None:
        while not ended.wait(0.4):
            cut.append(
                shut_down_connections_to(os.getpid(), HERE, running.database_port)
            )

    with ThreadPoolExecutor() as pool:
        cutting = pool.submit(cut_all)
        try:
            for _ in range(10):
                assert initiate_set(running)
                create_users(running)
        finally:
            ended.set()
        cutting.result()

    assert sum(cut) > 0


def test_a_moved_node_finds_its_set_again(tmp_path: Path) -> None:
    """A node alone whose address changed is writable at the new one."""
    old = prepared(tmp_path / "node")
    moved = replace(old, node_address="127.0.0.2", database_port=free_port())
    issue_node_certificate(old.folders.certificates, [HERE, "127.0.0.2"])
    for settings in (old, moved):
        mongod = Mongod(settings, Bus())
        mongod.start()
        try:
            wait_until_answering(settings, 30, mongod)
            initiate_set(settings)
            root = root_credentials(settings)
            with connect(settings, root, app_name="test") as client:
                found = client.admin.command("hello")["hosts"]
        finally:
            mongod.stop()

    assert found == [f"127.0.0.2:{moved.database_port}"]
