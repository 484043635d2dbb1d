"""`twistlock-console notice`."""

import click

from twistlock_console.cli.options import config_option, settings_of_running_node


@click.command("notice", help="Print whom to ask about planned maintenance.")
@config_option
def command(config):
    """Print MAINTENANCE_CONTACT."""
    values = settings_of_running_node(config).plugin_values
    click.echo(values["MAINTENANCE_CONTACT"])
