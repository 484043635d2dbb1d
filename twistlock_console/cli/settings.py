"""`twistlock-console config` and `firewall`: print results of twistlock.cfg."""

import os
from pathlib import Path

import click

from twistlock_console import plugins
from twistlock_console.cli.options import (
    config_option,
    print_line,
    settings_of_running_node,
)
from twistlock_console.settings import load_settings
from twistlock_console.settings.config_file import quote
from twistlock_console.settings.keys import values_of
from twistlock_console.system.firewall_rules import firewall_rules


@click.command("config", help="Check twistlock.cfg and show every setting.")
@config_option
def config_command(config: Path) -> None:
    """Print each setting of *config* and the environment."""
    settings = load_settings(config, os.environ)
    for key, value in values_of(settings).items():
        print_line(f"{key}={quote(value)}")


@click.command("firewall", help="Print firewall rules (nftables) for this host.")
@config_option
def firewall_command(config: Path) -> None:
    """Print rules that let only the nodes of this cluster reach their own ports."""
    settings = settings_of_running_node(config)
    active = plugins.enabled(settings)
    others = {each for plugin in active for each in plugin.node_addresses(settings)}
    ports = (settings.database_port, settings.node_api_port)
    print_line(firewall_rules(settings.node_address, others, ports), end="")
