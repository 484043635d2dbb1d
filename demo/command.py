"""Provide the command `twistlock-console demo`."""

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import click

from demo.commands import CommandQueue, Verb, parse
from demo.demo import Demo
from demo.events import CommandResult, DemoStatus, Event, Ready
from demo.headless import Headless
from demo.screen import Screen
from demo.state import DemoState, default_folder
from twistlock_console.cli.options import print_error
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, Interrupted

TICK_INTERVAL_S = 0.2


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
    """Run the demo until the user or a signal ends it."""
    commands = CommandQueue()
    state = DemoState(folder or default_folder())
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not headless and not on_terminal:
        print_error("There is no terminal: the demo is headless.")
    with ExitStack() as held:
        state.claim(held)
        commands.end_on_signals()
        _log_to(state.root / "demo.log")
        if clean or not state.is_formed:
            state.clean()
        is_headless = headless or not on_terminal
        run_session(
            state, Headless(commands) if is_headless else Screen(commands), commands
        )


def _log_to(file: Path) -> None:
    """Log to *file*, so that the terminal shows nothing but the demo."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(filename=file, level="WARNING", format=form, force=True)


class Frontend(Protocol):
    """The user interface of the demo: it queues commands and shows events."""

    def open(self) -> None:
        """Start to read commands."""

    def close(self) -> None:
        """Restore the terminal."""

    def tell(self, event: Event) -> None:
        """Show *event*; any thread may call it."""

    def show(self, status: DemoStatus) -> None:
        """Show the present *status*."""


def run_session(state: DemoState, frontend: Frontend, commands: CommandQueue) -> None:
    """Run the demo until `quit` or a signal; raises ConsoleError if it cannot."""
    began = boottime_ns()
    demo = Demo(state, frontend.tell)
    frontend.open()
    try:
        demo.open(commands.pause)
        seconds = round((boottime_ns() - began) / SECOND, 2)
        frontend.tell(Ready(seconds, demo.description()))
        while _turn(demo, frontend, commands):
            pass
    except Interrupted:
        pass
    finally:
        try:
            demo.close()
        finally:
            frontend.close()


def _turn(demo: Demo, frontend: Frontend, commands: CommandQueue) -> bool:
    """Execute the next command, if there is one; return False after `quit`."""
    line = commands.next(TICK_INTERVAL_S)
    demo.check_nodes()
    if line:
        answer = _answer(demo, line)
        frontend.tell(answer)
        if line.strip().lower() == Verb.QUIT:
            return False
    frontend.show(demo.status())
    return True


def _answer(demo: Demo, line: str) -> CommandResult:
    try:
        asked = parse(line)
        match asked.verb:
            case Verb.QUIT:
                return CommandResult(line, True, "ending")
            case Verb.STATUS:
                return CommandResult(line, True, "see the status", demo.status())
            case _:
                return CommandResult(line, True, demo.carry_out(asked))
    except ConsoleError as error:
        return CommandResult(line, False, str(error))
