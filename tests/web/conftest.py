"""A real mongod, and an application on it whose users are forgotten each time."""

import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from web_visitor import Visitor

from twistlock_console.secret_files import write_secret
from twistlock_console.settings import Settings
from twistlock_console.web import app as web_app
from twistlock_console.web.storage import DATABASE, Client, ensure_indexes, storage_of

HTTPS = "https://console.test"


def _mongod() -> str:
    bundled = Path(sysconfig.get_path("purelib"), "fiftyone/db/bin/mongod")
    return shutil.which("mongod") or str(bundled)


def _client(port: int) -> Client:
    return MongoClient(
        "127.0.0.1",
        port,
        directConnection=True,
        w="majority",
        journal=True,
        timeoutMS=5000,
    )


@pytest.fixture(scope="session")
def mongod_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A replica set of one, without users: the database room tests those."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("mongod")
    arguments = f"--port {port} --bind_ip 127.0.0.1 --replSet web --quiet".split()
    arguments += ["--dbpath", str(folder), "--wiredTigerCacheSizeGB", "0.25"]
    arguments += ["--unixSocketPrefix", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [_mongod(), *arguments], stdout=log, stderr=log, start_new_session=True
        )
    try:
        _initiate(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _initiate(port: int) -> None:
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    until = time.monotonic() + 30
    with _client(port) as client:
        while time.monotonic() < until:
            try:
                if client.admin.command("hello").get("isWritablePrimary"):
                    ensure_indexes(client[DATABASE])
                    return
                client.admin.command(
                    "replSetInitiate", {"_id": "web", "members": [member]}
                )
            except PyMongoError:
                time.sleep(0.1)
    raise TimeoutError("the test's mongod did not become primary")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose folders hold the secrets that the web room reads."""
    made = Settings(node_address="127.0.0.1", data_folder=tmp_path)
    made.folders.create()
    write_secret(made.folders.secrets / "session.key", os.urandom(32))
    write_secret(made.folders.secrets / "console.password", b"not used here")
    return made


@pytest.fixture
def app(
    settings: Settings, mongod_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """The application as a plugin-less node serves it, on an empty database."""
    monkeypatch.setattr(web_app, "_client", lambda _settings: _client(mongod_port))
    with _client(mongod_port) as client:
        database = client[DATABASE]
        for name in database.list_collection_names():
            database[name].delete_many({})
    made = web_app.create_app(settings, ())
    made.testing = True
    yield made
    storage_of(made).close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without cookies."""
    return app.test_client()


@pytest.fixture
def visitor(client: FlaskClient) -> Visitor:
    """A person at a browser, not logged in; nobody has signed up."""
    return Visitor(client)


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    """The first administrator, who has just signed up at this browser."""
    visitor.sign_up()
    return visitor
