"""`twistlock-console firewall`: rules for the ports that only nodes may reach."""

from pathlib import Path

import click

from twistlock_console import plugins
from twistlock_console.cli.options import config_option, settings_of_running_node
from twistlock_console.cli.output import print_line
from twistlock_console.system.firewall_rules import firewall_rules


@click.command("firewall", help="Print firewall rules (nftables) for this host.")
@config_option
def command(config: Path) -> None:
    """Print rules that let only the nodes of this cluster reach their own ports."""
    settings = settings_of_running_node(config)
    active = plugins.enabled(settings)
    others = {each for plugin in active for each in plugin.node_addresses(settings)}
    ports = (settings.database_port, settings.node_api_port)
    print_line(firewall_rules(settings.node_address, others, ports), end="")
