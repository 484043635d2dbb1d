"""The demo's one-line commands. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from demo.events import NODES
from twistlock_console.common.errors import Refused


class Verb(StrEnum):
    """What can be asked of the demo."""

    KILL = "kill"
    START = "start"
    FREEZE = "freeze"
    THAW = "thaw"
    CUT = "cut"
    HEAL = "heal"
    SWITCHOVER = "switchover"
    STATUS = "status"
    QUIT = "quit"


ALONE = (Verb.STATUS, Verb.QUIT)
HELP = (
    "kill ADDR, start ADDR, freeze ADDR, thaw ADDR, cut ADDR, heal ADDR, "
    "switchover [ADDR], status, quit"
)


@dataclass(frozen=True, slots=True)
class Order:
    """One command; *address* is "" where none was given."""

    verb: Verb
    address: str = ""


def parse(line: str) -> Order:
    """Read one command; raises Refused with a sentence that says what is wrong."""
    word, *arguments = line.split() or [""]
    try:
        verb = Verb(word.lower())
    except ValueError:
        raise Refused(f"There is no command {word!r}. Commands: {HELP}.") from None
    return Order(verb, _address(verb, arguments))


def _address(verb: Verb, arguments: list[str]) -> str:
    if verb in ALONE and arguments:
        raise Refused(f"{verb} takes no address.")
    if len(arguments) > 1:
        raise Refused(f"{verb} takes one address.")
    if not arguments:
        if verb in (*ALONE, Verb.SWITCHOVER):
            return ""
        raise Refused(f"{verb} takes an address: {', '.join(NODES)}.")
    if arguments[0] not in NODES:
        raise Refused(f"No node has the address {arguments[0]}: {', '.join(NODES)}.")
    return arguments[0]
