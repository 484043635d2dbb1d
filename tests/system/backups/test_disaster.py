"""What a cluster does when nodes die around a backup or a restore, and when all did."""

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.backups.revoked_proofs import REFUSED, Proofs
from tests.hosts.cluster import Cluster
from tests.hosts.console_api import ConsoleApi
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.needs("ip", "nsenter", "unshare", root=True),
    pytest.mark.timeout(900),
]
KEY = "a key of the administrator\n"
DEFENDERS_PORT = 8084


class Shared:
    """A cluster whose nodes write to one volume, as they should."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.volume = laboratory.root / "volume"
        self.volume.mkdir()
        self.key = laboratory.root / "backup.key"
        self.key.write_text(KEY)
        self.key.chmod(0o600)
        self.keys = {
            "DATA_RECOVERY_VOLUME": str(self.volume),
            "DATA_RECOVERY_KEY_FILE": str(self.key),
        }
        self.cluster = Cluster(laboratory, **self.keys)

    def serving(self) -> HostedNode:
        """The node that serves."""
        return self.cluster.nodes[self.cluster.wait_converged()]

    def command(self, node: HostedNode, *words: str, typed: str = "") -> str:
        """Run `twistlock-console` on the node's host; what it said."""
        return run(node, "app.py", *words, "--config", config(node), typed=typed)

    def back_up(self, name: str) -> HostedNode:
        """Make a backup; gives who serves. A loaded machine may fail over in it."""
        for _ in range(3):
            serving = self.serving()
            with suppress(RuntimeError):
                self.command(serving, "backup", "create", name)
                return serving
        raise TimeoutError(f"no backup {name} was made")

    def at_database(self, node: HostedNode, *words: str) -> Any:
        """See `at_database.py`; on the host of *node*."""
        said = run(node, "-m", "tests.backups.at_database", config(node), *words)
        return json.loads(said) if said.startswith("{") else None

    def backups(self, node: HostedNode) -> list[dict[str, Any]]:
        """Those in the volume, as *node* lists them."""
        return list(node.ask("/v1/backups")["backups"])

    def lose(self, node: HostedNode) -> HostedNode:
        """End every process of *node*'s host at once; gives who serves next."""
        node.host.signal_all(signal.SIGKILL)
        wait_for(lambda: not node.running, 10, "the end of the node")
        name = wait_for(self.cluster.primary, 30, "another primary")
        return self.cluster.nodes[name]

    def revive(self, node: HostedNode) -> None:
        """Start the node again and wait until the cluster is whole."""
        node.start()
        self.cluster.wait_converged()


def config(node: HostedNode) -> str:
    return str(node.host.folder / "twistlock.cfg")


def run(node: HostedNode, *words: str, typed: str = "") -> str:
    """Run our Python on the node's host."""
    program = node.host.start(
        sys.executable,
        *words,
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = program.communicate(typed.encode(), timeout=90)[0].decode()
    if program.returncode:
        raise RuntimeError(said)
    return said


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    """Three nodes with some data."""
    with server_folder(request, "disaster") as folder, Laboratory(folder) as laboratory:
        site = Shared(laboratory)
        site.cluster.form()
        site.at_database(site.serving(), "write", "1", "4000")
        yield site


def test_a_failover_during_a_backup_starts_it_again(shared: Shared) -> None:
    """The next primary makes the automatic backup; the half one is nowhere."""
    first = shared.serving()
    shared.at_database(first, "make-due")
    wait_for(lambda: first.ask("/v1/backups")["work"], 30, "the backup begins")

    new = shared.lose(first)

    wait_for(
        lambda: (
            {b["name"] for b in shared.backups(new)} >= {"daily", "monthly"}
            and new.ask("/v1/backups")["work"] is None
        ),
        120,
        "the backups of the next primary",
        every=0.5,
    )
    results = new.ask("/v1/backups")["results"]
    assert results["daily"]["node"] == new.address
    assert all(each["verified"] for each in shared.backups(new))
    shared.revive(first)
    wait_for(lambda: no_litter(shared), 30, "the half backup is gone", every=0.5)


def no_litter(shared: Shared) -> bool:
    """Whether every file in the volume belongs to a backup that was verified."""
    files = {path.name for path in shared.volume.iterdir()}
    sealed = {f.removesuffix(".sha256") for f in files if f.endswith(".sha256")}
    return files == sealed | {f"{file}.sha256" for file in sealed}


def test_a_failover_while_loading_leaves_the_old_data(shared: Shared) -> None:
    """The restore is given up, and the next primary drops what was loaded."""
    first = shared.back_up("generation1")
    shared.at_database(first, "write", "2", "4000")
    # What a restore has loaded when its node dies just before the decision.
    run(first, "-c", HALF_LOADED.format(config=config(first)))

    new = shared.lose(first)

    wait_for(lambda: not shown(shared, new)["left"], 60, "it is dropped", every=0.5)
    assert shown(shared, new)["generations"] == [[2]] * 3
    shared.revive(first)


HALF_LOADED = """
from datetime import UTC, datetime
from pathlib import Path
from twistlock_console.backups.operations import restore_journal as journal
from twistlock_console.backups.operations.restore_plan import Journal, RestoreState
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import load_settings
settings = load_settings(Path({config!r}), {{}}, on_this_host=False)
with connect(settings, credentials_for(settings, "console"), app_name="t") as client:
    database = client["twistlock"]
    began = Journal("dead", RestoreState.LOADING, "f", "admin", datetime.now(UTC))
    journal.begin(database, began)
    database["restoring.dead.g_first"].insert_one({{"generation": 1}})
"""


def shown(shared: Shared, node: HostedNode) -> dict[str, Any]:
    return dict(shared.at_database(node, "show"))


def test_a_restore_reaches_every_node(shared: Shared) -> None:
    """Ordered on a standby; the node that serves goes on serving, with the old data."""
    first = shared.serving()
    standby = next(n for n in shared.cluster.nodes.values() if n is not first)
    file = next(b["id"] for b in shared.backups(first) if b["name"] == "generation1")
    epoch = shared.cluster.view(first)["epoch"]

    shared.command(standby, "backup", "restore", file)

    for node in shared.cluster.nodes.values():
        wait_for(
            lambda node=node: shown(shared, node)["generations"] == [[1]] * 3,
            30,
            "the restored data",
            every=0.5,
        )
    assert shared.serving() is first
    assert shared.cluster.view(first)["epoch"] == epoch
    shared.at_database(first, "write", "2", "4000")


def test_a_failover_after_the_decision_brings_the_new_data(shared: Shared) -> None:
    """The next primary completes the restore before it serves."""
    first = shared.serving()
    file = next(b["id"] for b in shared.backups(first) if b["name"] == "generation1")
    # Had it time to look, the node itself would complete it.
    shared.at_database(first, "load", file)

    new = shared.lose(first)

    assert shown(shared, new)["generations"] == [[1]] * 3
    audits = shared.cluster.api.call(new.address, "GET", "/audits/mgmt?search=restored")
    assert audits[0]["status"] == f"restored the backup {file}"
    shared.revive(first)
    wait_for(lambda: shown(shared, first)["generations"] == [[1]] * 3, 20, "replicated")


def test_what_was_revoked_stays_revoked(shared: Shared, tmp_path: Path) -> None:
    """Through a restore of an older backup, a failover, and a restart of all nodes."""
    proofs = Proofs(shared.cluster, tmp_path, shared.command, shared.at_database)
    proofs.make(shared.serving())
    serving = shared.back_up("before-revoking")
    proofs.revoke(serving)
    found = shared.backups(serving)
    file = next(b["id"] for b in found if b["name"] == "before-revoking")
    shared.command(serving, "backup", "restore", file)
    wait_for(lambda: is_in_force(shared, serving, file), 60, "the restore")
    serving = shared.serving()
    after_restore = proofs.answers(serving.address)
    new = shared.lose(serving)
    after_failover = proofs.answers(new.address)
    shared.revive(serving)
    shared.cluster.stop()
    for node in shared.cluster.nodes.values():
        node.start()
    restarted = shared.serving()
    after_restart = proofs.answers(restarted.address)

    assert after_restore == REFUSED
    assert after_failover == REFUSED
    assert after_restart == REFUSED
    assert proofs.living() == {
        "password": 200,
        "deploy token": "a script",
        "Defenders": ["hello", "hello"],
    }


def is_in_force(shared: Shared, node: HostedNode, file: str) -> bool:
    """Whether the history says that the backup is restored, and the ports are open."""
    try:
        path = "/audits/mgmt?search=restored&type=backup"
        found = shared.cluster.api.call(node.address, "GET", path)
    except ConnectionError:
        return False
    return any(
        each["status"].startswith(f"restored the backup {file}") for each in found
    )


def test_all_nodes_are_lost(shared: Shared, tmp_path: Path) -> None:
    """A new host, a backup, the key file: Defenders trust it, and two nodes join."""
    old = shared.back_up("last")
    epoch = shared.cluster.view(old)["epoch"]
    shared.cluster.defender_papers("defender-1", tmp_path)
    for node in shared.cluster.nodes.values():
        node.host.signal_all(signal.SIGKILL)
        wait_for(lambda node=node: not node.running, 10, "the end of a node")
        shutil.rmtree(node.settings.data_folder)
        node.settings.folders.create()
    fresh = HostedNode(
        shared.cluster.laboratory.host("h4"), shared.cluster.client, **shared.keys
    )

    said = shared.command(fresh, "restore", typed=f"{newest(shared, 'last')}\n")
    fresh.start()

    assert "Start the Console now" in said
    wait_for(lambda: fresh.try_ask("/v1/status").get("serving"), 60, "it serves")
    assert shown(shared, fresh)["generations"] == [[1]] * 3
    assert fresh.ask("/v1/status")["epoch"] > epoch
    assert is_trusted(shared, fresh, tmp_path)
    shared.cluster.nodes = {
        "h4": fresh,
        **{name: shared.cluster.nodes[name] for name in ("h2", "h3")},
    }
    # It is the old authority that the client of the API trusts, too.
    shared.cluster.api = ConsoleApi(shared.cluster.client, tmp_path / "ca.pem")
    rejoin(shared, fresh)


def newest(shared: Shared, name: str) -> int:
    """The number of the backup in the list that the command shows."""
    times = {
        path.name: int(path.name.rpartition("-")[2].partition(".")[0])
        for path in shared.volume.glob("*.tar.gz")
    }
    ordered = sorted(times, key=lambda file: times[file], reverse=True)
    return next(n for n, file in enumerate(ordered) if file.startswith(f"{name}-"))


def is_trusted(shared: Shared, node: HostedNode, papers: Path) -> bool:
    """Whether a Defender of the lost Console connects, without being touched."""
    context = ssl.create_default_context(cafile=str(papers / "ca.pem"))
    context.load_cert_chain(papers / "certificate.pem", papers / "key.pem")
    with (
        shared.cluster.client.network(),
        socket.create_connection((node.address, DEFENDERS_PORT), timeout=120) as plain,
        context.wrap_socket(plain, server_hostname=node.address) as secured,
    ):
        return secured.version() == "TLSv1.3"


def rejoin(shared: Shared, primary: HostedNode) -> None:
    """Two hosts ask to join the restored Console, with its old administrator."""
    cluster = shared.cluster
    others = [node for name, node in cluster.nodes.items() if name != "h4"]
    for node in others:
        node.configure(**{"HIGH_AVAILABILITY_STATE": "SECONDARY", **shared.keys})
        cluster.invite(node, primary)
        node.start()
    wait_for(lambda: cluster.view(primary)["applyReady"], 60, "two requests")
    cluster.api.call(primary.address, "POST", "/high-availability/apply")
    cluster.wait_converged(60)
    wait_for(
        lambda: all(shown(shared, n)["generations"] == [[1]] * 3 for n in others),
        30,
        "the data are on all nodes",
        every=0.5,
    )
