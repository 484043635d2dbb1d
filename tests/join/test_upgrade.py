"""An upgrade by the manual's steps keeps the data; a failed one changes nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.conftest import NEXT_VERSION
from tests.join.installed import CLI, DATA, Site, configure, is_whole, serves, states
from twistlock_console import __version__
from twistlock_console.clock import SECOND, boottime_ns

pytestmark = [
    pytest.mark.needs("curl", "ip", "nsenter", "unshare", root=True),
    pytest.mark.timeout(1200),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Hosts on which nothing is installed."""
    with Laboratory(tmp_path) as laboratory:
        yield Site(laboratory)


def test_upgrade_of_a_cluster(
    site: Site, release: Path, next_release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused with secondaries; then up with all data; and never down again."""
    primary = site.install_primary(release)
    site.api.sign_up(primary.address)
    others = [site.host("h2"), site.host("h3")]
    for host in others:
        site.join(host, primary)
    site.apply(primary)
    users = site.users()
    primary = site.serving()
    others = [host for host in site.hosts.values() if host is not primary]
    folder = primary.unpack(next_release)

    said = primary.bash(f"{folder}/twistlock.sh -sj console", check=False)
    listed = " ".join(host.address for host in others)
    assert f"These nodes are still in the cluster: {listed}." in said
    assert is_whole(primary)

    began = boottime_ns()
    _leave(site, primary, others[0])
    said = primary.bash(f"{folder}/twistlock.sh -sjy console")
    assert f"Removed from the cluster: {others[1].address}." in said
    assert said.endswith("Twistlock Console installed successfully.\n")
    wait_for(lambda: serves(primary), 30, "the primary serves")
    _is_at(primary, NEXT_VERSION)
    _uninstall(others[1])
    for host in others:
        site.join(host, primary)
    site.apply(primary)
    gap = (boottime_ns() - began) / SECOND
    with capsys.disabled():
        sys.stdout.write(f"\nupgrade: no redundancy for {gap:.0f} s\n")
    assert site.users() == users
    for host in others:
        _is_at(host, NEXT_VERSION)

    old = primary.unpack(release)
    said = primary.bash(f"{old}/twistlock.sh -sjy console", check=False)
    assert f"its data cannot go back to {__version__}" in said
    assert is_whole(primary)


def _leave(site: Site, primary: BareHost, host: BareHost) -> None:
    site.api.call(primary.address, "DELETE", f"/high-availability/nodes/{host.address}")
    wait_for(lambda: host.address not in states(primary), 20, "it is off the page")
    _uninstall(host)


def _uninstall(host: BareHost) -> None:
    said = host.bash("/opt/twistlock/twistlock.sh -su")
    assert said.endswith("Twistlock Console uninstalled successfully.\n")
    assert (
        host.bash(f"ls -d /opt/twistlock {DATA} 2>&1", check=False).count("No such")
        == 2
    )
    assert host.bash(f"ls -d {DATA}-backup").strip() == f"{DATA}-backup"


def _is_at(host: BareHost, version: str) -> None:
    assert f"version  {version}" in host.bash(f"{CLI} status")


def test_a_failed_run_leaves_the_old_installation_working(
    site: Site, release: Path, next_release: Path
) -> None:
    """Damaged, misconfigured or unable to start: the old one goes on as it was."""
    primary = site.install_primary(release)
    folder = primary.unpack(next_release)
    before = primary.bash(f"cat {DATA}/scripts/twistlock.cfg")

    primary.bash(f"echo x >>{folder}/LICENSE")
    said = primary.bash(f"{folder}/twistlock.sh -sj console", check=False)
    assert "This release is damaged" in said
    primary.unpack(next_release)

    configure(primary, folder, COMMUNICATION_PORT="none")
    said = primary.bash(f"{folder}/twistlock.sh -s console", check=False)
    assert "COMMUNICATION_PORT is 'none'" in said
    primary.unpack(next_release)

    primary.bash("python3 -m http.server 9999 >/dev/null 2>&1 & sleep 1")
    configure(primary, folder, MANAGEMENT_PORT_UI="9999")
    said = primary.bash(f"{folder}/twistlock.sh -s console", check=False)
    assert "Port 9999 is taken" in said
    assert "Putting the earlier installation back" in said

    wait_for(lambda: serves(primary), 60, "the old one serves")
    _is_at(primary, __version__)
    assert primary.bash(f"cat {DATA}/scripts/twistlock.cfg") == before
    assert primary.bash("ls /opt/twistlock/releases").count("\n") == 1
    old = primary.bash("cat /opt/twistlock/current/VERSION").strip()
    assert old == __version__


def test_running_it_again_changes_a_setting(site: Site, release: Path) -> None:
    """With -j the installed values stay, and the old file is kept beside."""
    primary = site.install_primary(release, CONSOLE_SAN="one.example.com")
    folder = primary.unpack(release)
    said = primary.bash(f"{folder}/twistlock.sh -sj console")
    assert said.endswith("Twistlock Console installed successfully.\n")
    wait_for(lambda: serves(primary), 60, "it serves")
    kept = primary.bash(f"grep ^CONSOLE_SAN= {DATA}/scripts/twistlock.cfg")
    assert kept == "CONSOLE_SAN=one.example.com\n"
    assert primary.bash(f"ls {DATA}/scripts").split() == [
        "twistlock.cfg",
        "twistlock.cfg.old",
    ]
