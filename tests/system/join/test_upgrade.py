"""An upgrade by the manual's steps keeps the data; a failed one changes nothing."""

import shlex
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.installed import (
    CLI,
    DATA,
    Site,
    is_whole,
    serves,
    states,
    uninstall,
    view,
)
from tests.join.manual import as_written
from tests.system.cluster.test_moving_to_the_cluster_authority import is_refused
from tests.system.join.conftest import EARLIER_VERSION, NEXT_VERSION
from tests.system.join.test_onebox import DEFENDER, is_connected
from twistlock_console import __version__
from twistlock_console.common.clock import SECOND, boottime_ns

pytestmark = [
    pytest.mark.needs("curl", "git", "ip", "nsenter", "script", "unshare", root=True),
    pytest.mark.timeout(1800),
]
UPGRADE = as_written("sudo ./twistlock.sh -sj console")
CONFIG = f"{DATA}/scripts/twistlock.cfg"
#: What the manual says the installer leaves on a host.
OURS = (DATA, f"{DATA}-backup", "/opt/twistlock", "/usr/local/bin/twistlock-console")


def run(host: BareHost, folder: str, command: str) -> str:
    """Run *command* in the *folder* of an unpacked release; what it said."""
    return host.bash(f"cd {folder}; {command}", check=False)


def with_another(host: BareHost, key: str, value: str) -> str:
    """The command that installs with the present settings, but for one."""
    host.bash(f"sed s/^{key}=.*/{key}={value}/ {CONFIG} >/root/given.cfg")
    return "./twistlock.sh -s -c /root/given.cfg console"


def test_a_failed_run_leaves_the_old_installation_working(
    site: Site, release: Path
) -> None:
    """Damaged, misconfigured or unable to start: the old one goes on as it was."""
    host = site.standbys()[0]
    folder = host.unpack(release)
    before = host.bash(f"cat {CONFIG}; ls /opt/twistlock/releases")

    said = run(host, folder, as_written("sudo ./twistlock.sh -sj check"))
    assert said.endswith("The Console can be installed here; nothing was changed.\n")

    host.bash(f"echo x >>{folder}/LICENSE")
    said = run(host, folder, UPGRADE)
    assert "This release is damaged" in said
    host.unpack(release)

    said = run(host, folder, with_another(host, "COMMUNICATION_PORT", "none"))
    assert "COMMUNICATION_PORT is 'none'" in said

    listen = "import socket, time; s = socket.create_server(('', 9999)); time.sleep(99)"
    host.bash(f"python3 -c {shlex.quote(listen)} >/dev/null 2>&1 & sleep 0.5")
    said = run(host, folder, with_another(host, "MANAGEMENT_PORT_UI", "9999"))
    assert "Port 9999 is taken" in said
    assert "nothing was changed" in said
    assert view(host)

    # Ended by its number, and nothing else is, while the old one stops.
    said = run(
        host,
        folder,
        f"{UPGRADE} >out 2>&1 & pid=$!; until grep -qs Stopping out || "
        "! kill -0 $pid; do sleep 0.05; done; kill -TERM $pid; wait $pid; cat out",
    )
    assert "Putting the earlier installation back" in said

    wait_for(lambda: view(host), 60, "the old one runs")
    site.wait_whole(site.serving())
    _is_at(host, __version__)
    assert host.bash(f"cat {CONFIG}; ls /opt/twistlock/releases") == before
    assert host.bash("cat /opt/twistlock/current/VERSION").strip() == __version__


def test_upgrade_of_a_cluster(
    site: Site,
    release: Path,
    earlier_release: Path,
    next_release: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """From the release before this one, with its Defender, by the manual.

    Refused with secondaries; then up with all data; and never down again.
    """
    site.form_anew(earlier_release)
    primary, others, users = site.serving(), site.standbys(), site.users()
    for host in (primary, *others):
        _is_at(host, EARLIER_VERSION)
    defended = _deploy_defender(site, primary)
    configured = primary.bash(f"grep ^CONSOLE_SAN= {CONFIG}")
    before = {host: host.listing(*OURS) for host in (primary, *others)}
    folder = primary.unpack(next_release)

    said = run(primary, folder, UPGRADE)
    listed = " ".join(host.address for host in others)
    assert f"These nodes are still in the cluster: {listed}." in said
    assert is_whole(primary)
    elsewhere = others[0].unpack(next_release)
    assert "This host is no primary" in run(others[0], elsewhere, UPGRADE)

    began = boottime_ns()
    remove = as_written("sudo twistlock-console ha remove ADDRESS")
    primary.bash(remove.replace("ADDRESS", others[0].address))
    wait_for(lambda: others[0].address not in states(primary), 20, "it is off the page")
    said = run(primary, folder, f"{UPGRADE} -y")
    assert f"Removed from the cluster: {others[1].address}." in said
    assert said.endswith("Twistlock Console installed successfully.\n")
    wait_for(lambda: serves(primary), 30, "the primary serves")
    _is_at(primary, NEXT_VERSION)
    for host in others:
        _is_uninstalled(host)
    site.join(primary, *others)
    site.apply(primary)
    gap = (boottime_ns() - began) / SECOND
    record_property("told", f"upgrade: no redundancy for {gap:.0f} s")

    assert site.users() == users
    for host in others:
        _is_at(host, NEXT_VERSION)
    assert primary.bash(f"grep ^CONSOLE_SAN= {CONFIG}") == configured
    assert "twistlock.cfg.old" in primary.bash(f"ls {DATA}/scripts")
    for host in (primary, *others):
        _accepts_nodes_alone(site, host, defended)
        assert host.listing(*OURS) == before[host]
    wait_for(lambda: is_connected(defended), 60, "the Defender is back")

    old = primary.unpack(release)
    said = run(primary, old, f"{UPGRADE} -y")
    assert f"its data cannot go back to {__version__}" in said
    assert is_whole(primary)
    defended.bash(f"{DEFENDER}/defender.sh -u")


def _deploy_defender(site: Site, primary: BareHost) -> BareHost:
    """Deploy a Defender from *primary* on a host of its own, as the manual says."""
    host = site.host("h7")
    host.bash(primary.bash("twistlock-console --log-level error defender command"))
    wait_for(lambda: is_connected(host), 60, "the Defender connects")
    return host


def _accepts_nodes_alone(site: Site, host: BareHost, defended: BareHost) -> None:
    """MongoDB and node API of *host* moved on, and refuse the Defender's handshake."""
    show = as_written("sudo twistlock-console certs show")
    last = "MongoDB and node API: accept cluster-ca.pem alone\n"
    wait_for(lambda: host.bash(show).endswith(last), 90, "it moves", every=0.5)
    papers = defended.tree("/var/lib/twistlock-defender")
    defender = ssl.create_default_context(
        cafile=host.tree(f"{DATA}/certificates/cluster-ca.pem")
    )
    defender.load_cert_chain(papers / "certificate.pem", papers / "key.pem")
    with site.client.network():
        for port in (8086, 27017):
            assert is_refused((host.address, port), defender)
        defender.load_verify_locations(host.tree(f"{DATA}/certificates/ca.pem"))
        if serves(host):
            assert not is_refused((host.address, 8084), defender)


def _is_uninstalled(host: BareHost) -> None:
    said = uninstall(host)
    assert said.endswith("Twistlock Console uninstalled successfully.\n"), said
    gone = host.bash(f"ls -d /opt/twistlock {DATA} 2>&1", check=False)
    assert gone.count("No such") == 2
    assert host.bash(f"ls -d {DATA}-backup").strip() == f"{DATA}-backup"


def _is_at(host: BareHost, version: str) -> None:
    assert f"version  {version}" in host.bash(f"{CLI} status")
