"""A node's database and its Defender server, real, shared by the tests of this room."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.fleet.defender_client import FleetClient
from tests.hosts.ports import free_ports
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.servers.service_ports import servers
from twistlock_console.servers.supervisor import forkserver
from twistlock_console.servers.supervisor.child_listener import ChildListener
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import FOREVER, Permit
from twistlock_console.web.lists.registry import ensure_indexes

EPOCH = 7


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A node's folders and secrets, on free ports of the loopback."""
    database, defenders = free_ports(2)
    made = Settings(
        node_address="127.0.0.1",
        data_folder=tmp_path_factory.mktemp("fleet"),
        database_port=database,
        communication_port=defenders,
        database_cache_gb=0.25,
    )
    made.folders.create()
    prepare_secrets(made.folders)
    create_authority(made.folders.certificates)
    issue_node_certificate(made.folders.certificates, ["127.0.0.1"])
    return made


@pytest.fixture(scope="session")
def mongod(settings: Settings) -> Iterator[Mongod]:
    """The node's MongoDB, a set of one with its users and indexes."""
    made = Mongod(settings, Bus())
    made.start()
    try:
        wait_until_answering(settings, 30)
        initiate_set(settings)
        create_users(settings)
        with _client(settings) as client:
            ensure_indexes(client["twistlock"])
        yield made
    finally:
        made.stop()


def _client(settings: Settings) -> Any:
    credentials = credentials_for(settings, "console")
    return connect(settings, credentials, app_name="tests", timeout_ms=60_000)


@pytest.fixture(scope="session")
def all_documents(settings: Settings, mongod: Mongod) -> Iterator[Any]:
    """The Console's database, with whatever is in it."""
    with _client(settings) as client:
        yield client["twistlock"]


@pytest.fixture
def database(all_documents: Any) -> Database[dict[str, Any]]:
    """The Console's database, emptied."""
    for name in all_documents.list_collection_names():
        all_documents[name].delete_many({})
    made: Database[dict[str, Any]] = all_documents
    return made


@pytest.fixture(scope="session")
def make_server(
    settings: Settings, mongod: Mongod
) -> Iterator[Callable[[int], ChildListener]]:
    """Make Defender servers of an epoch; they are closed at the end."""
    forkserver.start(wait=30)
    made: list[ChildListener] = []

    def make(epoch: int) -> ChildListener:
        permit = Permit()
        permit.grant(epoch, FOREVER)
        defenders = servers(settings, "unused:unused")[1]
        made.append(ChildListener(defenders, settings, permit, lambda *_: None))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def server(make_server: Callable[[int], ChildListener]) -> ChildListener:
    """The Defender server, open."""
    made = make_server(EPOCH)
    made.open()
    return made


@pytest.fixture(scope="session")
def papers(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> FleetClient:
    """Issues certificates and dials; the server need not be open."""
    folder: Path = tmp_path_factory.mktemp("papers")
    return FleetClient(settings, folder)


@pytest.fixture
def fleet(
    papers: FleetClient, server: ChildListener, database: object
) -> Iterator[FleetClient]:
    """Dials the open server, whose database is empty."""
    yield papers
    papers.hang_up()
