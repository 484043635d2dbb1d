"""Certificates, settings on free loopback ports, and service ports with a small app."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.ports import free_port, free_ports
from tests.listeners.listener_clients import MANY
from twistlock_console.common.atomic_files import ensure_secret
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import (
    ListenerClosed,
    ListenerFailed,
    ListenerOpened,
    ListenersPaused,
)
from twistlock_console.pki.authority import create_authority, sign_request
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor import forkserver
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import FOREVER, Permit

SMALL_APP = "tests.listeners.small_app:create"


@pytest.fixture(scope="session")
def warm_process() -> None:
    """The process that servers are forked from, with everything imported."""
    forkserver.start([*forkserver.MODULES, "tests.listeners.small_app"], wait=30)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an authority, a node's and two clients' certificates."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "certificates"
    for made in (folder, root / "secrets"):
        made.mkdir(0o700)
    ensure_secret(root / "secrets" / "console.password")
    create_authority(folder)
    issue_node_certificate(folder, ["127.0.0.1", "localhost"])
    usages = {"defender-1": Usage.DEFENDER, "defender-3": Usage.DEFENDER}
    for name, usage in (usages | {"node-2": Usage.NODE}).items():
        make_key(folder / f"{name}-key.pem")
        pem = sign_request(
            folder,
            make_request(folder / f"{name}-key.pem", name),
            usage=usage,
            common_name=name,
            names=[name],
        )
        (folder / f"{name}.pem").write_bytes(pem)
    return root


@pytest.fixture(scope="session")
def database_port() -> int:
    """Where the node's MongoDB listens, if a test needs `mongod`."""
    return free_port()


@pytest.fixture(scope="session")
def mongod(data_folder: Path, database_port: int) -> Iterator[None]:
    """The node's MongoDB: Defenders are opened once it told who is revoked."""
    settings = Settings(
        node_address="127.0.0.1", data_folder=data_folder, database_port=database_port
    )
    settings.folders.create()
    prepare_secrets(settings.folders)
    made = Mongod(settings, Bus())
    made.start()
    try:
        wait_until_answering(settings, 30)
        initiate_set(settings)
        create_users(settings)
        yield
    finally:
        made.stop()


@pytest.fixture
def settings(data_folder: Path, database_port: int) -> Settings:
    """Settings of a node on loopback."""
    api, pages, defenders, *_ = free_ports(MANY)
    return Settings(
        node_address="127.0.0.1",
        data_folder=data_folder,
        database_port=database_port,
        management_port_https=api,
        management_port_ui=pages,
        communication_port=defenders,
    )


@pytest.fixture
def permit() -> Permit:
    """A permit for epoch 7, without an end."""
    permit = Permit()
    permit.grant(7, FOREVER)
    return permit


@pytest.fixture
def events(bus: Bus) -> list[object]:
    """What was published about listeners, in order."""
    heard: list[object] = []
    for kind in (ListenerOpened, ListenerClosed, ListenerFailed, ListenersPaused):
        bus.subscribe(kind, heard.append)
    return heard


@pytest.fixture
def bus() -> Bus:
    """A bus of our own."""
    return Bus()


@pytest.fixture
def make_ports(
    warm_process: None, settings: Settings, permit: Permit, bus: Bus
) -> Iterator[Callable[..., ServicePorts]]:
    """Make service ports that are closed when the test ends."""
    made: list[ServicePorts] = []

    def make(app: str = SMALL_APP, *, settings: Settings = settings) -> ServicePorts:
        made.append(ServicePorts(settings, permit, bus, app=app))
        return made[-1]

    yield make
    for each in made:
        each.close_all()


@pytest.fixture
def ports(make_ports: Callable[..., ServicePorts]) -> ServicePorts:
    """The service ports of a node, closed."""
    return make_ports()
