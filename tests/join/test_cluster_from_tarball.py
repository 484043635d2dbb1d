"""Three hosts that know only each other become a cluster, from the tarball alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.remote_visitor import visitor_on
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.installed import (
    CLI,
    DATA,
    Site,
    power_off,
    serves,
    start,
    states,
    view,
)
from twistlock_console.clock import SECOND, boottime_ns

pytestmark = [
    pytest.mark.needs("chromium", "curl", "ip", "nsenter", "unshare", root=True),
    pytest.mark.timeout(900),
]
PICTURES = Path("build/pictures")
# The lease, the poll of the command line below, and a slow machine.
CLOSED_SECONDS = 8
SECRETS = ("mongod.key", "console.password", "cluster.password", "session.key")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Hosts on which nothing is installed."""
    with Laboratory(tmp_path) as laboratory:
        yield Site(laboratory)


def test_the_life_of_a_cluster(site: Site, release: Path) -> None:
    """Formed with a browser; every node lost once; nothing stored is missing."""
    primary = site.install_primary(release)
    others = [site.host("h2"), site.host("h3")]
    said = _form(site, primary, others)
    _no_secrets_shown(site, said)
    _primary_off_and_on_again(site, primary, others)
    _first_primary_replaced(site, primary, others)
    _two_of_three_destroyed(site)


def _form(site: Site, primary: BareHost, others: list[BareHost]) -> str:
    """Copy the command off the page, run it twice, APPLY, wait for SECONDARY."""
    said = ""
    with visitor_on(site.client, PICTURES) as visitor:
        visitor("sign_up", primary.address, USERNAME, PASSWORD)
        for host in others:
            printed = host.bash(visitor("join_command", primary.address))
            visitor("open_cluster", primary.address)
            visitor("wait_for_state", host.address, "REQUEST_JOIN")
            shown = visitor("fingerprint", host.address)
            assert printed.splitlines()[-1] == shown
            said += printed
            if host is others[0]:
                refusal = primary.bash(f"{CLI} ha apply", check=False)
                assert "1 more host must ask to join first" in refusal
        visitor("apply", primary.address)
        for host in others:
            visitor("wait_for_state", host.address, "SECONDARY")
    site.wait_whole(primary)
    return said


def _no_secrets_shown(site: Site, said: str) -> None:
    """Nothing secret in output and logs; on disk it is for its owner alone."""
    for host in site.hosts.values():
        logged = host.bash(f"cat {DATA}/log/console.log /var/log/twistlock-install.log")
        for name in SECRETS:
            secret = host.bash(f"cat {DATA}/secrets/{name}").strip()
            assert secret not in said + logged
        assert re.search(r"join-[\w-]{43}", said + logged) is None
        secret_files = f"{DATA}/secrets {DATA}/certificates/*key.pem"
        assert host.bash(f"find {secret_files} -type f ! -perm 600") == ""
        assert host.bash(f"stat -c %U:%a {DATA}").strip() == "twistlock:700"


def _primary_off_and_on_again(
    site: Site, primary: BareHost, others: list[BareHost]
) -> None:
    """The new primary shows the old one UNAVAILABLE; it returns as SECONDARY."""
    power_off(primary)
    new = wait_for(lambda: _serving(others), 30, "another primary")
    wait_for(
        lambda: states(new).get(primary.address) == "UNAVAILABLE", 20, "UNAVAILABLE"
    )
    start(primary)
    wait_for(lambda: states(new).get(primary.address) == "SECONDARY", 60, "it is back")
    site.wait_whole(new)


def _first_primary_replaced(
    site: Site, primary: BareHost, others: list[BareHost]
) -> None:
    """Gone for good: removed and replaced with what the new primary's page offers."""
    new = wait_for(lambda: _serving(others), 30, "the second primary serves")
    power_off(primary)
    del site.hosts["h1"]
    with visitor_on(site.client, PICTURES) as visitor:
        visitor("log_in", new.address, USERNAME, PASSWORD)
        message = visitor("remove", new.address, primary.address)
        assert message == f"{primary.address} was removed."
        fresh = site.host("h4")
        fresh.bash(visitor("join_command", new.address))
        visitor("apply", new.address)
        visitor("wait_for_state", fresh.address, "SECONDARY")
    site.wait_whole(new)
    start(primary)
    wait_for(
        lambda: (
            "was removed from the cluster" in primary.bash(f"{CLI} status", check=False)
        ),
        60,
        "the old primary knows that it is out",
    )
    assert not serves(primary)
    power_off(primary)


def _two_of_three_destroyed(site: Site) -> None:
    """The survivor closes, is recovered by hand, and two fresh hosts join it."""
    survivor, *lost = site.hosts.values()
    users = site.users()
    for host in lost:
        power_off(host)
    began = boottime_ns()
    wait_for(lambda: not serves(survivor), CLOSED_SECONDS, "the ports are closed")
    assert boottime_ns() - began < CLOSED_SECONDS * SECOND
    wrong = survivor.bash(f"echo yes | {CLI} ha recover --force", check=False)
    assert "nothing was changed" in wrong
    told = survivor.bash(f"echo {survivor.address} | {CLI} ha recover --force")
    assert all(host.address in told for host in lost)
    wait_for(lambda: serves(survivor), 30, "the survivor serves")
    assert view(survivor)["epoch"] > 1_000_000
    for host in lost:
        start(host)
    for host in lost:
        wait_for(lambda host=host: _knows_it_is_out(host), 60, "it is refused")
        assert not serves(host)
        host.bash("/opt/twistlock/twistlock.sh -su")
        site.join(host, survivor)
    site.apply(survivor)
    assert site.users() == users


def _knows_it_is_out(host: BareHost) -> bool:
    said = host.bash(f"{CLI} status; cat {DATA}/log/console.log", check=False)
    return said.count("this node was removed from the cluster") >= 2


def _serving(hosts: list[BareHost]) -> BareHost | None:
    return next((host for host in hosts if serves(host)), None)
