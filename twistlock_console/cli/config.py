"""`twistlock-console config`: what twistlock.cfg says, or all that is wrong with it."""

import os
from pathlib import Path

import click

from twistlock_console.cli.options import config_option
from twistlock_console.cli.output import print_line
from twistlock_console.settings import load_settings
from twistlock_console.settings.config_file import quote
from twistlock_console.settings.keys import values_of


@click.command("config", help="Check twistlock.cfg and show every setting.")
@config_option
def command(config: Path) -> None:
    """Print each setting that *config* and the environment result in."""
    settings = load_settings(config, os.environ)
    for key, value in values_of(settings).items():
        print_line(f"{key}={quote(value)}")
