"""`twistlock-console demo`."""

import argparse
import logging
import sys
from contextlib import ExitStack
from pathlib import Path

from demo.command_queue import Lines
from demo.headless import Headless
from demo.screen import Screen
from demo.session import perform
from demo.state import State, default_folder


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command; it has a configuration of its own and needs no *config*."""
    del config
    demo = commands.add_parser(
        "demo", help="three nodes on this machine, to fail and recover by command"
    )
    demo.add_argument(
        "--headless",
        action="store_true",
        help="commands on standard input, JSON lines on standard output",
    )
    demo.add_argument("--state", type=Path, metavar="DIR", help="where it keeps data")
    demo.add_argument("--clean", action="store_true", help="forget an earlier demo")
    demo.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    lines = Lines()
    state = State(options.state or default_folder())
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not options.headless and not on_terminal:
        print("There is no terminal: the demo is headless.", file=sys.stderr)  # noqa: T201
    with ExitStack() as held:
        state.claim(held)
        lines.end_on_signals()
        _log_to(state.root / "demo.log")
        if options.clean or not state.is_formed:
            state.clean()
        headless = options.headless or not on_terminal
        perform(state, Headless(lines) if headless else Screen(lines), lines)


def _log_to(file: Path) -> None:
    """Keep the terminal, or the JSON lines, free of anything else."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename=file, level="WARNING", format=form, force=True)
