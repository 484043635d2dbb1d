"""A join command that must not work says why, and installs nothing."""

import re
import shlex

import pytest

from tests.hosts.waiting import wait_for
from tests.join.asking import TOKEN, ask_to_join
from tests.join.bare_host import BareHost
from tests.join.installed import CLI, DATA, Site, power_off, states

pytestmark = [
    pytest.mark.needs("curl", "ip", "nsenter", "unshare", root=True),
    pytest.mark.timeout(1200),
]
EXPIRE_ALL = f"""
from datetime import UTC, datetime
from pathlib import Path
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import load_settings
settings = load_settings(Path("{DATA}/scripts/twistlock.cfg"), {{}}, on_this_host=False)
with connect(settings, credentials_for(settings, "cluster"), app_name="test") as client:
    past = {{"$set": {{"expires": datetime.now(UTC)}}}}
    client["twistlock"]["ha_join_tokens"].update_many({{}}, past)
"""


@pytest.fixture
def command(site: Site) -> str:
    """A fresh join command."""
    return site.command(site.serving())


def refused(host: BareHost, command: str) -> str:
    """Run *command*, see that nothing was installed, and give what it said."""
    said = host.bash(f"set -o pipefail; {command}; echo status $?", check=False)
    assert "status 0" not in said
    assert host.bash(f"ls -d /opt/twistlock {DATA} 2>/dev/null", check=False) == ""
    return said


def test_a_garbled_token(site: Site, command: str) -> None:
    """Part of a token is refused as damaged."""
    said = refused(site.host("h5"), TOKEN.sub("join-abc", command))

    assert "The join token is damaged" in said


def test_an_unknown_token(site: Site, command: str) -> None:
    """A token that was never made here is not known."""
    said = refused(site.host("h5"), TOKEN.sub("join-" + 43 * "x", command))

    assert "The join token is not known here" in said


def test_an_administrators_token(site: Site, command: str) -> None:
    """The token of an account opens the script, which then installs nothing."""
    token = site.api.token(site.serving().address)
    said = refused(site.host("h5"), TOKEN.sub(token, command))

    assert (
        "downloaded with the login of an account, and no host joins with that" in said
    )


def test_an_expired_token(site: Site, command: str) -> None:
    """After its time, a token opens nothing."""
    code = shlex.quote(EXPIRE_ALL)
    site.serving().bash(f"/opt/twistlock/current/bin/python -c {code}")
    said = refused(site.host("h5"), command)

    assert "The join token has expired" in said


def test_a_revoked_token(site: Site, command: str) -> None:
    """A token that was revoked opens nothing."""
    address = site.serving().address
    found = site.api.call(address, "GET", "/high-availability/join-tokens")
    path = f"/high-availability/join-tokens/{found[0]['id']}"
    with pytest.raises(ConnectionError):
        site.api.call(address, "DELETE", path[:-1])
    assert (
        site.api.call(address, "GET", "/high-availability/join-tokens")[0] == found[0]
    )
    site.api.call(address, "DELETE", path)
    said = refused(site.host("h5"), command)

    assert "The join token was revoked" in said


def test_a_token_on_a_second_host(site: Site, command: str) -> None:
    """The first host that uses a token is the only one; the saved script too."""
    download = command.replace("| sudo bash", ">/root/saved.sh")
    site.host("h5").bash(download)
    script = site.host("h5").tree("root/saved.sh").read_text()
    elsewhere = site.host("h6")
    elsewhere.bash(f"printf %s {shlex.quote(script)} >/root/saved.sh")

    assert "was used by another host" in refused(elsewhere, command)
    assert "was used by another host" in refused(elsewhere, "bash /root/saved.sh")


def test_another_key_than_the_commands(site: Site, command: str) -> None:
    """Somebody in between has another key: curl stops before anything is sent."""
    other = re.sub("sha256//.{10}", "sha256//AAAAAAAAAA", command)
    said = refused(site.host("h5"), other)

    assert "public key does not match pinned public key" in said


def test_another_key_while_the_script_runs(site: Site, command: str) -> None:
    """The script goes on checking the key; with another one it stops and says so."""
    changed = "sed 's,sha256//..........,sha256//AAAAAAAAAA,'"
    said = refused(site.host("h5"), command.replace("| sudo", f"| {changed} | sudo"))

    assert "shows another key than the Console's" in said


def test_the_command_shows_a_token_to_nobody_else(site: Site, command: str) -> None:
    """What the script says, and the list on the page, hold no token."""
    api = site.api
    listed = api.call(site.serving().address, "GET", "/high-availability/join-tokens")

    assert TOKEN.search(str(listed)) is None


def test_a_host_cannot_ask_for_another(site: Site) -> None:
    """The address that a host claims must be the one it comes from."""
    host, other = site.host("h5"), site.host("h6").address
    said = ask_to_join(site, host, address=other)

    assert f"asks to join as {other} and comes from {host.address}" in said["err"]


def test_an_old_version_may_not_ask(site: Site) -> None:
    """A host with another version is told which one the cluster has."""
    said = ask_to_join(site, site.host("h5"), version="1.0")

    assert "This host has version 1.0 of the Console" in said["err"]


def test_nobody_waits_after_all_that(site: Site) -> None:
    """None of the refused hosts is on the page."""
    said = site.serving().bash(f"{CLI} ha status")

    assert "REQUEST_JOIN" not in said


def test_a_join_that_died_can_be_repeated(site: Site, command: str) -> None:
    """Power lost while installing: the same command ends it, and leaves no rest."""
    host, primary = site.host("h7"), site.serving()
    host.bash(f"({command}) >/root/said 2>&1 &")
    unpacked = "ls -d /opt/twistlock/releases/*/lib"
    wait_for(
        lambda: "No such" not in host.bash(f"{unpacked} 2>&1", check=False), 60, ""
    )
    power_off(host)

    said = host.bash(command)

    assert "This host waits in the state REQUEST_JOIN" in said
    assert host.bash("ls -d /opt/twistlock/releases/*").count("\n") == 1
    assert host.bash("ls /var/tmp/twistlock-join.* 2>/dev/null", check=False) == ""
    assert states(primary)[host.address] == "REQUEST_JOIN"
    refusal = primary.bash(f"{CLI} ha apply", check=False)
    assert "A cluster has 3 nodes; 4 would be too many." in refusal


def test_a_host_that_was_turned_down_stays_out(site: Site) -> None:
    """It says so in its log, and does not show up again by itself."""
    host, primary = site.host("h7"), site.serving()
    path = f"/high-availability/nodes/{host.address}"
    site.api.call(primary.address, "DELETE", path)

    log = f"{DATA}/log/console.log"
    wait_for(
        lambda: "The join token was revoked" in host.bash(f"cat {log}"),
        60,
        "its log says so",
        every=0.5,
    )
    assert host.address not in states(primary)
