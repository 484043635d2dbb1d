"""A Console and the Defender of its own host, from the tarball alone."""

import json
from pathlib import Path

import pytest

from tests.hosts.waiting import wait_for
from tests.join.bare_host import BareHost
from tests.join.installed import SETTINGS, Site, configure, uninstall
from tests.join.manual import as_written

pytestmark = [
    pytest.mark.needs("curl", "ip", "nsenter", "script", "setpriv", root=True),
    pytest.mark.timeout(300),
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
    assert "Done. It is to be seen on the Console" in said
    wait_for(lambda: _is_connected(host), 30, "the Defender connects")
    owner = host.bash("stat -c %U:%a /var/lib/twistlock-defender").strip()
    assert owner == "twistlock-defender:700"
    assert "deploy-" not in host.bash("cat /var/log/twistlock-install.log")

    host.bash(f"{DEFENDER}/defender.sh -u")
    host.bash(f"cd {folder}; {deploy}")
    wait_for(lambda: _is_connected(host), 30, "it connects again")
    host.bash(f"{DEFENDER}/defender.sh -u")
    uninstall(host)


def _is_connected(host: BareHost) -> bool:
    said = host.bash(f"{DEFENDER}/twistlock-defender status --json", check=False)
    try:
        return bool(json.loads(said)["connected"])
    except (ValueError, KeyError):
        return False
