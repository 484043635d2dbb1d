"""One performance of the demo: opens the show, obeys until told to end, closes it."""

from typing import Protocol

from demo.command_queue import Lines
from demo.console_lines import Verb, parse
from demo.demo import Show
from demo.events import Answer, Event, Picture, Ready
from demo.state import State
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, Interrupted

TICK_SECONDS = 0.2


class Face(Protocol):
    """Where commands come from, and events go to."""

    def open(self) -> None:
        """Begin to read commands."""

    def close(self) -> None:
        """Put everything back as it was."""

    def tell(self, event: Event) -> None:
        """Pass on what happened; any thread may call it."""

    def show(self, picture: Picture) -> None:
        """Pass on how things are."""


def perform(state: State, face: Face, lines: Lines) -> None:
    """Run the demo until `quit` or a signal; raises ConsoleError if it cannot."""
    began = boottime_ns()
    show = Show(state, face.tell)
    face.open()
    try:
        show.open(lines.pause)
        seconds = round((boottime_ns() - began) / SECOND, 2)
        face.tell(Ready(seconds, show.description()))
        while _turn(show, face, lines):
            pass
    except Interrupted:
        pass
    finally:
        try:
            show.close()
        finally:
            face.close()


def _turn(show: Show, face: Face, lines: Lines) -> bool:
    """Obey the next command, if there is one; False after `quit`."""
    line = lines.next(TICK_SECONDS)
    show.look_after_nodes()
    if line:
        answer = _answer(show, line)
        face.tell(answer)
        if line.strip().lower() == Verb.QUIT:
            return False
    face.show(show.picture())
    return True


def _answer(show: Show, line: str) -> Answer:
    try:
        order = parse(line)
        match order.verb:
            case Verb.QUIT:
                return Answer(line, True, "ending")
            case Verb.STATUS:
                return Answer(line, True, "see the status", show.picture())
            case _:
                return Answer(line, True, show.obey(order))
    except ConsoleError as error:
        return Answer(line, False, str(error))
