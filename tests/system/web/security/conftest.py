"""One application and one administrator per module: most tests change nothing."""

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.web.fake_node_api import FakeNodeApi
from tests.web.web_visitor import Visitor
from twistlock_console.settings import Settings
from twistlock_console.web.actions import backups
from twistlock_console.web.app import create_app
from twistlock_console.web.common.database import storage_of


@pytest.fixture(scope="module")
def app(running: Settings) -> Iterator[Flask]:
    """Return the application, on a database that is empty when the module begins."""
    made = create_app(running)
    made.testing = True
    made.extensions[backups.EXTENSION] = FakeNodeApi()
    database = storage_of(made).database()
    for name in database.list_collection_names():
        database[name].delete_many({})
    yield made
    storage_of(made).close()


@pytest.fixture(scope="module")
def admin(app: Flask) -> Visitor:
    """Return a browser in which the first administrator has just signed up."""
    made = Visitor(app.test_client())
    made.sign_up()
    return made


@pytest.fixture
def stranger(admin: Visitor, app: Flask) -> Visitor:
    """Return another browser at the same address; the administrator has signed up."""
    return Visitor(app.test_client(), admin.address)
