"""Three hosts that know only each other become a cluster, from the tarball alone."""

import socket

import pytest

from tests.browser.remote_visitor import visitor_on
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.waiting import wait_for
from tests.join.asking import TOKEN
from tests.join.bare_host import BareHost
from tests.join.formation import PICTURES, Formed
from tests.join.installed import (
    DATA,
    Site,
    lease_ttl_ms,
    power_off,
    serves,
    start,
    states,
    uninstall,
    view,
)
from tests.join.manual import as_written
from twistlock_console.common.clock import MILLISECOND, boottime_ns

pytestmark = [
    pytest.mark.needs("chromium", "curl", "ip", "nft", "nsenter", "unshare", root=True),
    pytest.mark.timeout(1200),
]
SECRETS = ("mongod.key", "console.password", "cluster.password", "session.key")
RECOVER = as_written("sudo twistlock-console ha recover --force")
STATUS = as_written("twistlock-console status")
FIREWALL = as_written("sudo twistlock-console firewall | sudo nft -f -")
NODES = (8086, 27017)


def test_apply_waits_for_two_hosts(formed: Formed) -> None:
    """With one host waiting it is refused, and says why."""
    assert "1 more host must ask to join first" in formed.refusal


def test_no_secret_is_shown(formed: Formed, site: Site) -> None:
    """Not in output, logs, processes or the page; on disk for its owner alone."""
    told = "".join(formed.printed.values()) + TOKEN.sub("", formed.page)
    hosts = [h for h in site.hosts.values() if h.address in states(site.serving())]
    for host in hosts:
        told += host.bash(f"cat {DATA}/log/*.log /var/log/twistlock-install.log")
        told += "\n".join(host.host.processes().values())
    for host in hosts:
        for name in SECRETS:
            assert host.bash(f"cat {DATA}/secrets/{name}").strip() not in told
        secret_files = f"{DATA}/secrets {DATA}/certificates/*key.pem {DATA}/run"
        assert host.bash(f"find {secret_files} -type f ! -perm 600") == ""
        assert host.bash(f"stat -c %U:%a {DATA}").strip() == "twistlock:700"
        assert host.bash("ls /var/tmp") == ""
    assert TOKEN.search(told) is None
    assert len(set(TOKEN.findall(formed.page))) == 1
    assert PASSWORD not in told
    assert "PRIVATE KEY" not in told


def test_certificates_are_renewed_while_the_cluster_serves(site: Site) -> None:
    """On every node; nobody's question fails, and nobody else takes over."""
    primary = site.serving()
    epoch = view(primary)["epoch"]
    renew = as_written("sudo twistlock-console certs renew")
    show = as_written("sudo twistlock-console certs show")
    with site.asked_all_the_time(primary) as answered:
        for host in (primary, *site.standbys()):
            before = host.bash(f"cat {DATA}/certificates/node.pem")
            assert host.address in host.bash(renew)
            assert host.address in host.bash(show)
            assert host.bash(f"cat {DATA}/certificates/node.pem") != before
        renewed = boottime_ns()
        for sent in answered.values():
            wait_for(lambda sent=sent: sent[-1] > renewed, 10, "nobody was cut off")

    site.wait_whole(primary)
    assert view(primary)["epoch"] == epoch


def test_a_firewall_keeps_strangers_off_the_nodes_ports(site: Site) -> None:
    """The cluster stays whole behind the printed rules, and a takeover works."""
    hosts = [site.serving(), *site.standbys()]
    try:
        for host in hosts:
            host.bash(FIREWALL)
        assert not any(is_open(site, host, port) for host in hosts for port in NODES)
        site.be_served_by(hosts[1])
        assert is_open(site, hosts[1], 8083)
    finally:
        for host in hosts:
            host.bash("nft delete table inet twistlock")
    assert all(is_open(site, host, port) for host in hosts for port in NODES)


def is_open(site: Site, host: BareHost, port: int) -> bool:
    """Whether the host "client" can connect to *port* of *host*."""
    with site.client.network():
        try:
            socket.create_connection((host.address, port), timeout=120).close()
        except ConnectionRefusedError:
            return False
    return True


def test_the_primary_is_lost_and_returns(site: Site) -> None:
    """The new primary shows the old one UNAVAILABLE; it returns as SECONDARY."""
    old = site.serving()
    power_off(old)

    new = site.serving()

    assert new is not old
    wait_for(lambda: states(new).get(old.address) == "UNAVAILABLE", 20, "UNAVAILABLE")
    start(old)
    wait_for(lambda: states(new).get(old.address) == "SECONDARY", 60, "it is back")


def test_the_first_primary_is_replaced(site: Site) -> None:
    """Gone for good: removed and replaced with what the new primary's page offers."""
    first = site.hosts["h1"]
    site.be_served_by(first)
    power_off(first)
    del site.hosts["h1"]
    new = site.serving()
    fresh = site.host("h4")
    with visitor_on(site.client, PICTURES) as visitor:
        visitor("log_in", new.address, USERNAME, PASSWORD)
        message = visitor("remove", new.address, first.address)
        assert message == f"{first.address} was removed."
        fresh.bash(visitor("join_command", new.address))
        visitor("apply", new.address)
        visitor("wait_for_state", fresh.address, "SECONDARY")
    site.wait_whole(new)

    start(first)

    wait_for(lambda: _is_out(first), 60, "it knows that it is out", every=1)
    assert not serves(first)
    power_off(first)


def test_two_of_three_are_destroyed(site: Site) -> None:
    """The survivor closes, is recovered by hand, and two fresh hosts join it."""
    survivor = site.standbys()[0]
    site.be_served_by(survivor)
    lost = site.standbys()
    users, ttl = site.users(), lease_ttl_ms(survivor) * MILLISECOND
    with site.asked_all_the_time(survivor) as answered:
        wait_for(lambda: all(answered.values()), 10, "the survivor answers")
        for host in lost:
            power_off(host)
        alone = boottime_ns()
        wait_for(lambda: not serves(survivor), 30, "the ports are closed")
    # Nothing that was asked a lease time after the others had gone was answered.
    assert max(sent[-1] for sent in answered.values()) - alone < ttl

    wrong = survivor.bash(f"echo yes | {RECOVER}", check=False)
    assert "nothing was changed" in wrong
    told = survivor.bash(f"echo {survivor.address} | {RECOVER}")
    assert all(host.address in told for host in lost)
    wait_for(lambda: serves(survivor), 30, "the survivor serves")
    assert view(survivor)["epoch"] > 1_000_000
    on_record = site.api.call(survivor.address, "GET", "/audits/mgmt?search=force")
    assert [each["username"] for each in on_record] == ["root"]

    for host in lost:
        start(host)
    for host in lost:
        wait_for(lambda host=host: _is_out(host), 60, "it is refused", every=1)
        assert not serves(host)
        uninstall(host)
    site.join(survivor, *lost)
    site.apply(survivor)
    assert site.users() == users


def _is_out(host: BareHost) -> bool:
    said = host.bash(f"{STATUS}; cat {DATA}/log/console.log", check=False)
    return said.count("this node was removed from the cluster") >= 2
