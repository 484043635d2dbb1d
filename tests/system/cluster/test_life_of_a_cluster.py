"""The cluster's life as an operator leads it from the command line of any node."""

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from plugins.ha.membership.join_client import INVITATION
from tests.hosts.cluster import Cluster
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for
from twistlock_console.database.client import connect, root_credentials

CAUSE = "the data files are damaged or incomplete; remove the node"
pytestmark = [
    pytest.mark.needs("ip", "nsenter", "unshare", root=True),
]


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes, ended in an orderly way when all tests are done."""
    with server_folder(request, "life") as folder, Laboratory(folder) as laboratory:
        formed = Cluster(laboratory)
        formed.form()
        yield formed
        formed.stop()


def command(node: HostedNode, *words: str) -> str:
    """Run `twistlock-console` on the node's host; RuntimeError holds its stderr."""
    config = str(node.host.folder / "twistlock.cfg")
    program = (sys.executable, str(PROJECT / "app.py"))
    return node.host.run(*program, *words, "--config", config)


def history(cluster: Cluster) -> list[dict[str, Any]]:
    """The records of role changes, oldest first."""
    serving = cluster.nodes[cluster.wait_converged()]
    return list(reversed(cluster.view(serving)["history"]))


def test_every_node_tells_the_same_of_the_cluster(cluster: Cluster) -> None:
    """A standby's command line knows who serves, as well as the primary's."""
    serving = cluster.nodes[cluster.wait_converged()].address

    told = [
        json.loads(command(node, "ha", "status", "--json"))["primary"]
        for node in cluster.nodes.values()
    ]

    assert told == [serving] * 3


def test_status_tells_what_a_node_does(cluster: Cluster) -> None:
    """On a standby nothing serves; on the primary both servers run."""
    serving = cluster.wait_converged()

    told = {
        name: json.loads(command(node, "status", "--json"))
        for name, node in cluster.nodes.items()
    }

    assert {name for name, each in told.items() if each["serving"]} == {serving}
    assert set(told[serving]["pids"]) == {"mongod", "management", "defenders"}


def test_a_switchover_goes_where_it_is_told(cluster: Cluster) -> None:
    """It can be asked for on any node, and is on record with its reason."""
    serving = cluster.wait_converged()
    target = next(name for name in cluster.nodes if name != serving)
    before = len(history(cluster))

    address = cluster.nodes[target].address
    command(cluster.nodes[target], "ha", "switchover", address)
    wait_for(lambda: cluster.primary() == target, 30, "the switchover")

    wait_for(lambda: len(history(cluster)) >= before + 2, 10, "two records")
    down, up = history(cluster)[before : before + 2]
    assert (down["from"], down["to"]) == ("primary", "standby")
    assert down["reason"] == "a switchover was asked for"
    assert (up["address"], up["to"]) == (address, "primary")
    assert up["epoch"] > down["epoch"]
    trail = cluster.api.call(address, "GET", "/audits/mgmt?type=cluster&limit=1")
    assert trail[0]["status"] == f"asked for a switchover to {address}"
    assert (trail[0]["username"], trail[0]["sourceIP"]) == ("root", address)


def test_a_member_does_not_serve_without_high_availability(cluster: Cluster) -> None:
    """A configuration that leaves it out would make a second Console beside it."""
    serving = cluster.wait_converged()
    node = next(n for name, n in cluster.nodes.items() if name != serving)
    node.host.signal(node.pids()["node"], SIGTERM)
    node.wait_ended()
    node.configure(HIGH_AVAILABILITY_ENABLED="false")
    node.start()
    node.wait_ended()
    told = node.log.read_text()

    node.configure()
    node.start()
    assert "set HIGH_AVAILABILITY_ENABLED=true, or remove the node" in told
    assert cluster.wait_converged() == serving


def test_restores_in_a_row_keep_the_role(cluster: Cluster) -> None:
    """Each closes the ports for a moment, is on record as that, and is no failure."""
    serving = cluster.wait_converged()
    node = cluster.nodes[serving]
    command(node, "backup", "create", "mine")
    (file,) = [each["id"] for each in node.ask("/v1/backups")["backups"]]

    for _ in range(2):
        before = len(history(cluster))
        command(node, "backup", "restore", file)
        wait_for(lambda end=before: len(history(cluster)) >= end + 2, 30, "the restore")

        told = [(each["to"], each["reason"]) for each in history(cluster)[before:]]
        why = f"the backup {file} takes effect"
        again = f"the service ports opened again: {why}"
        assert told == [("standby", why), ("primary", again)]
    assert cluster.wait_converged() == serving


def test_a_switchover_to_a_dead_node_is_refused(cluster: Cluster) -> None:
    """The sentence says why, and nothing changes."""
    serving = cluster.wait_converged()
    names = reversed(cluster.nodes)
    victim = cluster.nodes[next(name for name in names if name != serving)]
    victim.host.signal_all(SIGKILL)
    wait_for(lambda: not victim.running, 10, "the end of the node")
    refused = f"{victim.address} is out of reach"

    def said() -> bool:
        try:
            command(cluster.nodes[serving], "ha", "switchover", victim.address)
        except RuntimeError as error:
            return refused in str(error)
        return False

    wait_for(said, 10, refused, every=0.5)
    assert cluster.primary() == serving
    victim.start()
    cluster.wait_converged()


def test_a_member_whose_files_are_damaged_says_why(cluster: Cluster) -> None:
    """On the others' page, in the alert and on its own host; it serves nobody."""
    serving = cluster.nodes[cluster.wait_converged()]
    victim = next(node for node in cluster.nodes.values() if node is not serving)
    victim.host.signal(victim.pids()["node"], SIGTERM)
    victim.wait_ended()
    file = victim.settings.folders.database / "WiredTiger.wt"
    os.truncate(file, file.stat().st_size // 2)
    alerts = len(serving.log.read_text())
    victim.start()

    def shown() -> dict[str, Any] | None:
        nodes = cluster.view(serving)["nodes"]
        found = next(each for each in nodes if each["address"] == victim.address)
        return dict(found) if CAUSE in found["reason"] else None

    node = wait_for(shown, 60, CAUSE)
    told = command(victim, "ha", "status")
    raised = f"the node {victim.address} is lost: its database does not run: mongod"
    wait_for(lambda: raised in serving.log.read_text()[alerts:], 40, raised)
    accepted = cluster.accepts(victim.address)
    empty_database(victim)
    victim.start()

    assert (node["state"], accepted) == ("UNAVAILABLE", False)
    assert node["takeover"] == "would not take over: its database does not run"
    assert victim.address in told
    assert CAUSE in told
    assert cluster.wait_converged(60)


def test_metrics_and_support_tell_of_all_nodes(cluster: Cluster) -> None:
    """The serving node's metrics name each node; one file has what each one says."""
    serving = cluster.nodes[cluster.wait_converged()]
    switched_on = {"enableMetricsCollection": True}
    cluster.api.call(serving.address, "POST", "/settings/logging", switched_on)
    dump = serving.host.folder / "dump.tar.gz"

    metrics = cluster.api.text(serving.address, "GET", "/metrics")
    told = command(serving, "support", "dump", "--output", str(dump))

    for node in cluster.nodes.values():
        role = 1.0 if node is serving else 0.0
        assert f'twistlock_ha_role{{node="{node.address}"}} {role}' in metrics
    assert 'twistlock_ha_failover_seconds{phase="ports"}' in metrics
    assert 'twistlock_ha_ports_open{server="defenders"} 1.0' in metrics
    assert "twistlock_ha_majority_write_seconds_count" in metrics
    assert told.endswith("from 3 of 3 nodes.\n")
    with tarfile.open(dump) as tar:
        names = {name.removeprefix("twistlock-support/") for name in tar.getnames()}
    assert {
        f"{node.address}/{part}"
        for node in cluster.nodes.values()
        for part in ("cluster.json", "log.txt", "rs.status.json", "settings.json")
    } <= names


def test_a_failover_is_told_once(cluster: Cluster) -> None:
    """By the node that took over, and by no other; what is open is in the database."""
    before = cluster.wait_converged()
    read = {node: len(node.log.read_text()) for node in cluster.nodes.values()}

    def told() -> str:
        # A loaded machine may have another failover: then another node goes on.
        return "".join(node.log.read_text()[end:] for node, end in read.items())

    cluster.nodes[before].host.signal_all(SIGKILL)
    wait_for(lambda: "this node serves now" in told(), 60, "the alert")
    lost = f"the node {cluster.nodes[before].address} is lost"
    wait_for(lambda: lost in told(), 40, "the loss of the node")
    cluster.nodes[before].start()
    wait_for(lambda: f"recovered: {lost}" in told(), 60, "its return")

    assert told().count(f"raised: {lost}") == 1
    cluster.wait_converged()


def test_names_are_in_every_nodes_certificate(cluster: Cluster) -> None:
    """Added at the serving one, renewed on each within seconds."""
    serving = cluster.nodes[cluster.wait_converged()]

    body = {"consoleSAN": ["lb.example.com"]}
    cluster.api.call(serving.address, "POST", "/settings/certs", body)

    for node in cluster.nodes.values():
        wait_for(
            lambda node=node: "lb.example.com" in command(node, "certs", "show"),
            30,
            "the name in the certificate",
            every=1,
        )


def test_a_host_that_waits_follows_the_role(cluster: Cluster) -> None:
    """Its command names a node that is no primary any more when it is admitted."""
    serving = cluster.wait_converged()
    heir, name = (each for each in cluster.nodes if each != serving)
    first, second, node = (cluster.nodes[each] for each in (serving, heir, name))
    command(first, "ha", "remove", node.address)
    node.host.signal_all(SIGKILL)
    node.wait_ended()
    shutil.rmtree(node.settings.folders.root)
    node.settings.folders.create()

    cluster.invite(node, first)
    node.start()
    told = node.settings.folders.secrets / INVITATION
    wait_for(lambda: second.address in told.read_text(), 30, "it knows the other node")
    command(second, "ha", "switchover", second.address)
    wait_for(lambda: cluster.primary() == heir, 30, "the switchover")
    wait_for(lambda: cluster.view(second)["applyReady"], 30, "its request")
    command(second, "ha", "apply")

    assert cluster.wait_converged(60) == heir


def test_a_new_password_is_known_on_every_node(cluster: Cluster) -> None:
    """It can be reset on a standby too, which reaches the primary's database."""
    serving = cluster.wait_converged()
    standby = cluster.nodes[next(name for name in cluster.nodes if name != serving)]

    config = str(standby.host.folder / "twistlock.cfg")
    script = (
        f"echo Another-Password-9 | {sys.executable} {PROJECT}/app.py "
        f"user reset-password admin --config {config}"
    )
    told = standby.host.run("sh", "-c", script)

    assert told == "admin has a new password; all sessions of that user ended.\n"


def empty_database(node: HostedNode) -> None:
    """End *node* in an orderly way and delete all that its MongoDB has stored."""
    node.host.signal(node.pids()["node"], SIGTERM)
    node.wait_ended()
    shutil.rmtree(node.settings.folders.database)
    node.settings.folders.create()


def votes_of(cluster: Cluster, node: HostedNode) -> int | None:
    """The vote of *node*, as the first of the others that answers has it."""
    for other in cluster.nodes.values():
        if other is node:
            continue
        root = root_credentials(other.settings)
        with (
            suppress(PyMongoError),
            other.host.network(),
            connect(other.settings, root, app_name="t", timeout_ms=1000) as client,
        ):
            members = client.admin.command("replSetGetConfig")["config"]["members"]
            found = [m["votes"] for m in members if m["host"].startswith(node.address)]
            return int(found[0])
    return None


def test_an_emptied_member_elects_nobody(cluster: Cluster) -> None:
    """Beside a dead one it waits; then it has no vote until it has caught up."""
    serving = cluster.wait_converged()
    primary = cluster.nodes[serving]
    victim = next(n for n in cluster.nodes.values() if n is not primary)
    empty_database(victim)
    primary.host.signal_all(SIGKILL)
    wait_for(lambda: not primary.running, 10, "the death of the primary")

    victim.start()
    waits = "the database of this node is empty; it does not start until the primary"
    wait_for(lambda: victim.log.read_text().count(waits) >= 3, 40, "it waits")
    assert cluster.primary() is None

    primary.start()
    wait_for(lambda: votes_of(cluster, victim) == 0, 60, "it has no vote", every=0.05)
    cluster.wait_converged(90)
    wait_for(lambda: votes_of(cluster, victim) == 1, 30, "it votes again")


def test_an_emptied_first_node_founds_no_second_cluster(cluster: Cluster) -> None:
    """It copies from the others, though it was the one that made the set."""
    if cluster.wait_converged() == "h1":
        cluster.api.call(
            cluster.nodes["h1"].address, "POST", "/high-availability/switchover", {}
        )
        wait_for(lambda: cluster.primary() not in (None, "h1"), 30, "another serves")
    serving = cluster.wait_converged()
    before = cluster.view(cluster.nodes[serving])["epoch"]
    empty_database(cluster.nodes["h1"])

    cluster.nodes["h1"].start()

    assert cluster.wait_converged(90) == serving
    assert cluster.view(cluster.nodes["h1"])["epoch"] == before
    assert (
        "made the replica set"
        not in cluster.nodes["h1"].log.read_text().partition("the database is empty")[2]
    )
