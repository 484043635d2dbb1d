"""A node's folders for a real mongod on the loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hosts.ports import free_port
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    prepare_secrets,
    wait_until_answering,
)
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.settings import Settings

HERE = "127.0.0.1"


def prepared(root: Path) -> Settings:
    """A node's folders with all that mongod needs, and mongod not started."""
    settings = Settings(
        node_address=HERE,
        data_folder=root,
        database_port=free_port(),
        database_cache_gb=0.25,
    )
    settings.folders.create()
    prepare_secrets(settings.folders)
    create_authority(settings.folders.certificates)
    issue_node_certificate(settings.folders.certificates, [HERE])
    return settings


@contextmanager
def set_of_one(settings: Settings) -> Iterator[Mongod]:
    """A mongod that runs as a set of one with its users, until the end."""
    mongod = Mongod(settings, Bus())
    mongod.start()
    try:
        wait_until_answering(settings, 30)
        initiate_set(settings)
        create_users(settings)
        yield mongod
    finally:
        mongod.stop()


def gone(pid: int) -> bool:
    """Whether the process is no more, or only waits to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"
