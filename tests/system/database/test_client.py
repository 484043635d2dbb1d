"""Who gets into the database."""

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from twistlock_console.database.bootstrap import wait_until_answering
from twistlock_console.database.client import (
    Client,
    DatabaseCredentials,
    connect,
    credentials_for,
    root_credentials,
)
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.settings import Settings


def test_the_console_may_write_its_database_only(running: Settings) -> None:
    """The web's user reads and writes `twistlock`, and cannot touch the set."""
    me = credentials_for(running, "console")

    with connect(running, me, app_name="test") as client:
        client.twistlock.written.insert_one({"_id": 1})

        assert client.twistlock.written.find_one() == {"_id": 1}
        with pytest.raises(OperationFailure, match="not authorized"):
            client.admin.command("replSetGetStatus")
        with pytest.raises(OperationFailure, match="not authorized"):
            client.other.written.insert_one({})


def test_the_cluster_user_may_see_and_step_down_the_set(running: Settings) -> None:
    """High availability needs the set's commands and the Console's documents."""
    me = credentials_for(running, "cluster")

    with connect(running, me, app_name="test", whole_set=True) as client:
        status = client.admin.command("replSetGetStatus")
        client.twistlock.lease.insert_one({"_id": "test"})

    assert [member["stateStr"] for member in status["members"]] == ["PRIMARY"]


def test_a_wrong_password_is_refused(running: Settings) -> None:
    """Even on the loopback nobody gets in without the password."""
    wrong = DatabaseCredentials("console", "wrong")

    with (
        connect(running, wrong, app_name="test") as client,
        pytest.raises(OperationFailure, match="Authentication failed"),
    ):
        client.twistlock.written.find_one()


def test_without_credentials_nothing_can_be_read(running: Settings) -> None:
    """Who is let in for `hello` sees no document."""
    with (
        connect(running, None, app_name="test") as client,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        client.twistlock.written.find_one()


def test_without_a_certificate_not_even_hello(running: Settings) -> None:
    """Only hosts with a certificate of our authority get to speak at all."""
    with (
        MongoClient(
            running.node_address,
            running.database_port,
            directConnection=True,
            tls=True,
            tlsCAFile=str(running.folders.certificates / "cluster-ca.pem"),
            serverSelectionTimeoutMS=1000,
        ) as client,
        pytest.raises(PyMongoError),
    ):
        client.admin.command("hello")


def test_every_write_waits_for_a_majority(running: Settings) -> None:
    """What was acknowledged is journaled on a majority, and reads see only that."""
    me = credentials_for(running, "console")

    with connect(running, me, app_name="test") as client:
        assert client.write_concern.document == {"w": "majority", "j": True}
        assert client.read_concern.level == "majority"
        assert client.options.timeout == 5.0


def test_a_password_is_never_printed() -> None:
    """Credentials may end in a log line; the password may not."""
    assert "secret" not in repr(DatabaseCredentials("console", "secret"))


def test_who_asks_all_the_time_is_refused_once(settings: Settings) -> None:
    """By a member that belongs to no set, as one that was removed; others ask on."""

    def requests(client: Client) -> int:
        return int(client["admin"].command("serverStatus")["network"]["numRequests"])

    def asked(*, retry_reads: bool) -> int:
        with connect(
            settings,
            root_credentials(settings),
            app_name="test",
            timeout_ms=1000,
            retry_reads=retry_reads,
        ) as client:
            before = requests(client)
            with pytest.raises(PyMongoError):
                client["twistlock"]["lease"].find_one()
            return requests(client) - before

    mongod = Mongod(settings, Bus())
    mongod.start()
    try:
        wait_until_answering(settings, 30)
        once, again = asked(retry_reads=False), asked(retry_reads=True)
    finally:
        mongod.stop()
    # Once the second number is small, too, the switch is needless.
    assert once < 10
    assert again > 50
