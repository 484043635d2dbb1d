"""Parse the demo's one-line commands, and queue them."""

import queue
import signal
import threading
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType

from demo.events import NODES
from twistlock_console.common.errors import Interrupted, Refused


class Verb(StrEnum):
    """The commands of the demo."""

    KILL = "kill"
    START = "start"
    FREEZE = "freeze"
    THAW = "thaw"
    CUT = "cut"
    HEAL = "heal"
    SWITCHOVER = "switchover"
    STATUS = "status"
    QUIT = "quit"


VERBS_WITHOUT_ADDRESS = (Verb.STATUS, Verb.QUIT)
HELP = (
    "kill ADDR, start ADDR, freeze ADDR, thaw ADDR, cut ADDR, heal ADDR, "
    "switchover [ADDR], status, quit"
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command; *address* is "" if none was given."""

    verb: Verb
    address: str = ""


def parse(line: str) -> Command:
    """Parse one command; raises Refused with a sentence that says what is wrong."""
    word, *arguments = line.split() or [""]
    try:
        verb = Verb(word.lower())
    except ValueError:
        raise Refused(f"There is no command {word!r}. Commands: {HELP}.") from None
    return Command(verb, _address(verb, arguments))


def _address(verb: Verb, arguments: list[str]) -> str:
    if verb in VERBS_WITHOUT_ADDRESS and arguments:
        raise Refused(f"{verb} takes no address.")
    if len(arguments) > 1:
        raise Refused(f"{verb} takes one address.")
    if not arguments:
        if verb in (*VERBS_WITHOUT_ADDRESS, Verb.SWITCHOVER):
            return ""
        raise Refused(f"{verb} takes an address: {', '.join(NODES)}.")
    if arguments[0] not in NODES:
        raise Refused(f"No node has the address {arguments[0]}: {', '.join(NODES)}.")
    return arguments[0]


class CommandQueue:
    """A queue of command lines; a signal ends every wait."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ended = threading.Event()

    def end_on_signals(self) -> None:
        """Install signal handlers that end every wait; call it from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def put(self, line: str) -> None:
        """Queue a command; any thread may call it."""
        self._waiting.put(line)

    def end(self) -> None:
        """End every wait, now and later; any thread may call it."""
        self._ended.set()

    def next(self, seconds: float) -> str | None:
        """Return the next command, or None after *seconds*; raises Interrupted."""
        if self._ended.is_set():
            raise Interrupted("the demo received a signal to stop")
        try:
            return self._waiting.get(timeout=seconds)
        except queue.Empty:
            return None

    def pause(self, seconds: float) -> None:
        """Wait for *seconds*; raises Interrupted if a signal came."""
        if self._ended.wait(seconds):
            raise Interrupted("the demo received a signal to stop")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.end()
