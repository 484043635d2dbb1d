"""A Console and the Defender of its own host, from the tarball alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.installed import SETTINGS, Site, configure, uninstall
from tests.join.manual import as_written

pytestmark = [
    pytest.mark.needs("curl", "ip", "nsenter", "script", "setpriv", root=True),
]
DEFENDER = "/opt/twistlock-defender"


def test_onebox(site: Site, release: Path) -> None:
    """Both are installed, the Defender connects, and each goes by itself."""
    host = site.host("h8")
    folder = host.unpack(release)
    keys = {**SETTINGS, "HIGH_AVAILABILITY_ENABLED": "false"}
    configure(host, folder, **keys, NODE_ADDRESS=host.address)
    deploy = as_written("sudo ./twistlock.sh defender")
    alone = host.bash(f"cd {folder}; {deploy}", check=False)

    said = host.bash(f"cd {folder}; ./twistlock.sh -s onebox")

    assert "No Console is installed here." in alone
    assert "Twistlock Console installed successfully.\n" in said
    assert "Done. See it on the Console" in said
    wait_for(lambda: is_connected(host), 30, "the Defender connects")
    owner = host.bash("stat -c %U:%a /var/lib/twistlock-defender").strip()
    assert owner == "twistlock-defender:700"
    assert "deploy-" not in host.bash("cat /var/log/twistlock-install.log")

    assert "does not survive a reboot" in said
    first = _pids(host)
    host.bash(f"kill -9 {first}")
    wait_for(lambda: not _pids(host), 30, "it has ended")
    for _ in range(2):
        host.bash(as_written("sudo /opt/twistlock-defender/defender.sh start"))
    wait_for(lambda: _status(host)["pid"] != int(first), 30, "it runs after a boot")
    wait_for(lambda: is_connected(host), 30, "it connects after a boot")
    assert _pids(host) == str(_status(host)["pid"])

    host.bash(f"{DEFENDER}/defender.sh -u")
    host.bash(f"cd {folder}; {deploy}")
    wait_for(lambda: is_connected(host), 30, "it connects again")
    host.bash(f"{DEFENDER}/defender.sh -u")
    uninstall(host)


def _status(host: BareHost) -> dict[str, Any]:
    said = host.bash(f"{DEFENDER}/twistlock-defender status --json", check=False)
    try:
        return dict(json.loads(said))
    except ValueError:
        return {}


def is_connected(host: BareHost) -> bool:
    """Whether the Defender on *host* has a connection to its Console."""
    return bool(_status(host).get("connected"))


def _pids(host: BareHost) -> str:
    return host.bash("pgrep -f '[m] twistlock_defender run' || :").strip()
