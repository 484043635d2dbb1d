"""A real database, and an application whose collections each test finds empty."""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.ctx import _AppCtxGlobals
from flask.testing import FlaskClient
from jinja2 import Undefined
from jinja2.utils import missing

from tests.hosts.ports import free_port
from tests.web.alert_receiver import Receiver
from tests.web.api_truth import hold_to_description
from tests.web.web_visitor import Visitor
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.client import Db
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.settings import Settings
from twistlock_console.web.app import create_app
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.lists.registry import ensure_indexes


class AttributeGuard(Undefined):
    """Fails where a template names an attribute that an object of ours does not have.

    Jinja shows nothing then, so that a renamed attribute empties a page in silence.
    """

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: Any = None, *rest: Any
    ) -> None:
        # Members of JSON may be left out, and flask.g is filled on the way.
        if obj is not missing and not isinstance(obj, Mapping | _AppCtxGlobals):
            raise AttributeError(f"{type(obj).__name__} has no {name}")
        super().__init__(hint, obj, name, *rest)


def _prepared(root: Path) -> Settings:
    made = Settings(
        node_address="127.0.0.1",
        data_folder=root,
        database_port=free_port(),
        database_cache_gb=0.25,
        alert_targets_allowed=(ip_network("127.0.0.0/8"),),
    )
    made.folders.create()
    prepare_secrets(made.folders)
    create_authority(made.folders.certificates)
    issue_node_certificate(made.folders.certificates, ["127.0.0.1"])
    return made


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Start a mongod and return the settings of its node."""
    made = _prepared(tmp_path_factory.mktemp("web") / "node")
    mongod = Mongod(made, Bus())
    mongod.start()
    try:
        wait_until_answering(made, 30)
        initiate_set(made)
        create_users(made)
        app = create_app(made)
        ensure_indexes(storage_of(app).database())
        storage_of(app).close()
        yield made
    finally:
        mongod.stop()


@pytest.fixture
def app(running: Settings) -> Iterator[Flask]:
    """Return the application without plugins, on an empty database."""
    made = create_app(running)
    made.testing = True
    made.jinja_env.undefined = AttributeGuard
    hold_to_description(made)
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    yield made
    storage_of(made).close()


@pytest.fixture
def blind(running: Settings) -> Iterator[Flask]:
    """Return the application of a node whose database does not answer."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen: the port refuses
        port = bound.getsockname()[1]
        made = create_app(replace(running, database_port=port))
        yield made
        storage_of(made).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a browser without cookies."""
    return app.test_client()


@pytest.fixture
def visitor(client: FlaskClient) -> Visitor:
    """Return a browser that is not logged in, before the sign-up."""
    return Visitor(client)


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """Return a browser in which the first administrator has just signed up."""
    visitor.sign_up()
    return visitor


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a server that receives the requests of a webhook."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def database(app: Flask) -> Db:
    """Return the database of the application."""
    return storage_of(app).database()
