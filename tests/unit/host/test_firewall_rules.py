"""The printed rules let only nodes reach the ports that are for nodes alone."""

from ipaddress import AddressValueError
from pathlib import Path

import pytest
from click.testing import CliRunner

from app import console
from twistlock_console.common.errors import Refused
from twistlock_console.database.known_members import write_known_members
from twistlock_console.settings import Settings
from twistlock_console.system.firewall_rules import firewall_rules

PORTS = (27017, 8086)


ALONE = """\
#!/usr/sbin/nft -f
# Only the nodes of the cluster reach MongoDB and the node API on 10.0.0.1.
# Made by `twistlock-console firewall`; make them again when nodes join or leave.
table inet twistlock
delete table inet twistlock
table inet twistlock {
    chain input {
        type filter hook input priority filter; policy accept;
        iifname "lo" accept
        tcp dport { 8086, 27017 } reject with tcp reset
    }
}
"""


def test_a_node_alone_lets_no_other_host_in() -> None:
    """Without other nodes there is nobody to accept."""
    assert firewall_rules("10.0.0.1", [], PORTS) == ALONE
    assert firewall_rules("10.0.0.1", ["10.0.0.1"], PORTS) == ALONE


def test_the_other_nodes_are_accepted() -> None:
    """Each once, in the order of their addresses."""
    rules = firewall_rules("10.0.0.1", ["10.0.0.10", "10.0.0.9", "10.0.0.10"], PORTS)

    accepted = "ip saddr { 10.0.0.9, 10.0.0.10 } tcp dport { 8086, 27017 } accept"
    assert rules.splitlines()[9].strip() == accepted


@pytest.mark.parametrize("address", ["", "node-2", "10.0.0.2; drop", "::1"])
def test_what_is_no_address_is_in_no_rule(address: str) -> None:
    """Rules are run as root."""
    with pytest.raises(AddressValueError):
        firewall_rules("10.0.0.1", [address], PORTS)


def configured(folder: Path, **keys: str) -> str:
    """Write a configuration file; gives its path."""
    found = {
        "NODE_ADDRESS": "10.0.0.1",
        "DATA_FOLDER": str(folder / "data"),
        "DATABASE_PORT": "27020",
        **keys,
    }
    config = folder / "twistlock.cfg"
    config.write_text("".join(f"{key}={value}\n" for key, value in found.items()))
    return str(config)


def test_the_command_prints_the_rules_of_a_node_alone(tmp_path: Path) -> None:
    """With the ports that are configured; the node need not run."""
    config = configured(tmp_path)

    printed = CliRunner().invoke(console, ["firewall", "--config", config])

    assert printed.output == firewall_rules("10.0.0.1", [], (27020, 8086))


def test_members_are_known_while_the_node_does_not_run(tmp_path: Path) -> None:
    """And where they are not, there are no rules that would cut the cluster."""
    config = configured(tmp_path, HIGH_AVAILABILITY_ENABLED="true")
    arguments = ["firewall", "--config", config]

    refused = CliRunner().invoke(console, arguments)
    assert isinstance(refused.exception, Refused)
    assert "start it, and run this as root" in str(refused.exception)

    folders = Settings(node_address="10.0.0.1", data_folder=tmp_path / "data").folders
    folders.create()
    write_known_members(folders, ["10.0.0.2", "10.0.0.3"])
    printed = CliRunner().invoke(console, arguments)

    others = ["10.0.0.2", "10.0.0.3"]
    assert printed.output == firewall_rules("10.0.0.1", others, (27020, 8086))
