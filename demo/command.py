"""`twistlock-console demo`."""

import logging
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from demo.command_queue import Lines
from demo.headless import Headless
from demo.screen import Screen
from demo.session import perform
from demo.state import State, default_folder
from twistlock_console.cli.output import print_error


@click.command("demo", help="Run three nodes on this machine, to fail and recover.")
@click.option(
    "--headless",
    is_flag=True,
    help="Commands on standard input, JSON lines on standard output.",
)
@click.option(
    "--state",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it keeps its data.",
)
@click.option("--clean", is_flag=True, help="Forget an earlier demo.")
def command(folder: Path | None, *, headless: bool, clean: bool) -> None:
    """Run the demo until it is told to end."""
    lines = Lines()
    state = State(folder or default_folder())
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not headless and not on_terminal:
        print_error("There is no terminal: the demo is headless.")
    with ExitStack() as held:
        state.claim(held)
        lines.end_on_signals()
        _log_to(state.root / "demo.log")
        if clean or not state.is_formed:
            state.clean()
        is_headless = headless or not on_terminal
        perform(state, Headless(lines) if is_headless else Screen(lines), lines)


def _log_to(file: Path) -> None:
    """Keep the terminal, or the JSON lines, free of anything else."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename=file, level="WARNING", format=form, force=True)
