"""Three mongods on the loopback, one set; a Defender server and pages on the first."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pymongo.errors import PyMongoError

from tests.hosts.ports import free_ports
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.client import (
    connect,
    credentials_for,
    root_credentials,
)
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

NODES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


class Stage:
    """What is measured: *defenders* and *pages* can be closed and opened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.permit = Permit()
        self.permit.grant(1, FOREVER)
        pages, defenders = servers(settings, "wsgi:create")
        self.pages = ChildListener(pages, settings, self.permit, print)
        self.defenders = ChildListener(defenders, settings, self.permit, print)
        self.client = connect(
            settings, credentials_for(settings, "console"), app_name="bench"
        )
        self.database: Any = self.client["twistlock"]

    def open(self) -> None:
        """Open both servers."""
        self.pages.open()
        self.defenders.open()

    def fail_over(self) -> None:
        """End the servers as those of a dead node; the next have a higher epoch."""
        self.pages.close()
        self.defenders.close()
        self.permit.grant(self.permit.epoch + 1, FOREVER)
        self.open()

    def close(self) -> None:
        """Close everything but the databases."""
        self.client.close()
        self.defenders.close()
        self.pages.close()


@contextmanager
def stage() -> Iterator[Stage]:
    """Form the set, and give the stage; all of it ends with the `with`."""
    root = Path(tempfile.mkdtemp(prefix="bench-defenders-"))
    nodes = _prepared(root)
    mongods = [Mongod(node, Bus()) for node in nodes]
    made = None
    forkserver.start(wait=30)
    try:
        for mongod, node in zip(mongods, nodes, strict=True):
            mongod.start()
            wait_until_answering(node, 60)
        _form(nodes)
        made = Stage(nodes[0])
        ensure_indexes(made.database)
        made.open()
        yield made
    finally:
        if made:
            made.close()
        for mongod in mongods:
            mongod.stop()
        shutil.rmtree(root, ignore_errors=True)


def _prepared(root: Path) -> list[Settings]:
    ports = free_ports(4)
    first = Settings(
        node_address=NODES[0],
        data_folder=root / NODES[0],
        database_port=ports[0],
        communication_port=ports[1],
        management_port_https=ports[2],
        management_port_ui=ports[3],
        # As docs/install.md says for thousands of Defenders.
        database_cache_gb=2,
    )
    first.folders.create()
    prepare_secrets(first.folders)
    create_authority(first.folders.certificates)
    issue_node_certificate(first.folders.certificates, [*NODES])
    others = [
        replace(first, node_address=address, data_folder=root / address)
        for address in NODES[1:]
    ]
    for other in others:
        shutil.copytree(root / NODES[0], other.data_folder)
    return [first, *others]


def _form(nodes: list[Settings]) -> None:
    first = nodes[0]
    initiate_set(first)
    create_users(first)
    with connect(first, root_credentials(first), app_name="bench") as client:
        for number, node in enumerate(nodes[1:], 1):
            found = client.admin.command("replSetGetConfig")["config"]
            found["version"] += 1
            host = f"{node.node_address}:{node.database_port}"
            found["members"].append({"_id": number, "host": host, "votes": 1})
            client.admin.command("replSetReconfig", found)
            _wait_healthy(client, number + 1)


def _wait_healthy(client: Any, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(PyMongoError):
            states = [
                m["state"] for m in client.admin.command("replSetGetStatus")["members"]
            ]
            if len([s for s in states if s in {1, 2}]) == count:
                return
        time.sleep(0.2)
    raise TimeoutError("the set was not whole within a minute")
