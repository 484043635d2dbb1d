"""Our member makes way, also where something keeps it from that."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from plugins.ha.controller.executor import ElectionActions
from plugins.ha.replication.replica_set import ReplicaSet
from tests.hosts.waiting import wait_for
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings

Client = MongoClient[dict[str, Any]]
#: A set of one waits that long for a standby that is not there.
WAITS = {"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 50, "force": True}


@pytest.fixture
def client(running: Settings) -> Iterator[Client]:
    """A client of the set of one, which is primary before and after."""
    login = credentials_for(running, "cluster")
    with connect(running, login, app_name="test", timeout_ms=20_000) as client:
        yield client
        # A primary refuses that, and need not be told.
        with suppress(OperationFailure):
            client.admin.command({"replSetFreeze": 0})
        wait_for(lambda: _role(client) == "primary", 20, "a primary")


@pytest.fixture
def waiting(running: Settings, client: Client) -> Iterator[None]:
    """It was told to step down, and waits for longer than anybody has patience."""
    login = credentials_for(running, "cluster")

    def step_down() -> None:
        with (
            connect(running, login, app_name="waits", timeout_ms=60_000) as other,
            suppress(PyMongoError),
        ):
            other.admin.command(WAITS)

    thread = threading.Thread(target=step_down)
    thread.start()
    wait_for(lambda: _role(client) == "neither", 10, "a member that steps down")
    yield
    thread.join(timeout=120)
    assert not thread.is_alive()


@pytest.mark.usefixtures("waiting")
def test_what_waits_to_step_down_is_ended(client: Client) -> None:
    """A member that steps down and does not come to an end is primary again at once."""
    assert ReplicaSet(client).kill_pending_step_downs() == 1

    wait_for(lambda: _role(client) == "primary", 5, "a primary again")
    assert ReplicaSet(client).kill_pending_step_downs() == 0


@pytest.mark.usefixtures("waiting")
def test_a_member_that_hangs_between_the_roles_steps_down(client: Client) -> None:
    """As after its clock was set back: the step that waits is ended, another begun."""
    ElectionActions(ReplicaSet(client), _no_peer).step_down(None)

    assert _role(client) == "standby"


def _role(client: Client) -> str:
    hello = client.admin.command("hello")
    if hello["isWritablePrimary"]:
        return "primary"
    return "standby" if hello["secondary"] else "neither"


def _no_peer(address: str) -> NodeClient:
    raise AssertionError(address)
