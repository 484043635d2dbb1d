"""Show the demo as a live screen, with a line for commands at the bottom."""

import os
import sys
import termios
import threading
import tty
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.commands import HELP, CommandQueue
from demo.events import (
    HTTPS_PORT,
    LOAD_BALANCER,
    CommandResult,
    DemoStatus,
    Event,
    Failover,
    NodeEnded,
    ProgressReport,
    Ready,
    RoleObserved,
)

MAX_LINES = 8
ROLE_STYLES = {"PRIMARY": "bold green", "SECONDARY": "cyan", "UNAVAILABLE": "red"}
BAR_CELLS = 40


class Screen:
    """Draws on the terminal and reads its keys; any thread may call `tell`."""

    def __init__(self, commands: CommandQueue) -> None:
        self._commands = commands
        self._sentences: deque[str] = deque(maxlen=MAX_LINES)
        self._typed = ""
        self._account = ""
        self._status: DemoStatus | None = None
        self._before = termios.tcgetattr(sys.stdin)
        self._live = Live(
            get_renderable=self._draw,
            console=Console(),
            screen=True,
            refresh_per_second=5,
        )

    def open(self) -> None:
        """Switch the terminal to the screen, and start to read keys."""
        tty.setcbreak(sys.stdin)
        self._live.start()
        threading.Thread(target=self._read, name="keys", daemon=True).start()

    def close(self) -> None:
        """Restore the terminal."""
        self._live.stop()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def tell(self, event: Event) -> None:
        """Add a line on *event*."""
        self._sentences.append(sentence(event))
        if isinstance(event, Ready):
            user, password = event.demo["user"], event.demo["password"]
            self._account = f"Log in as {user} with the password {password}"

    def show(self, status: DemoStatus) -> None:
        """Draw *status* from now on."""
        self._status = status

    def _read(self) -> None:
        while keys := os.read(sys.stdin.fileno(), 64).decode(errors="ignore"):
            # Arrow keys and the like start with an escape, and have no meaning here.
            if keys[0] != "\x1b":
                for key in keys:
                    self._type(key)
            self._live.refresh()

    def _type(self, key: str) -> None:
        if key in "\r\n":
            self._commands.put(self._typed)
            self._typed = ""
        elif key in "\x7f\x08":
            self._typed = self._typed[:-1]
        elif key.isprintable():
            self._typed += key

    def _draw(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._status:
            parts += [nodes_table(self._status), writes_of(self._status)]
            parts.append(Text(self._account))
            if self._status.failover:
                parts.append(timeline(self._status.failover))
        parts += [Text(line) for line in self._sentences]
        parts += [Text(HELP, style="dim"), Text(f"> {self._typed}_", style="bold")]
        return Panel(Group(*parts), title="Twistlock Console demo")


def nodes_table(status: DemoStatus) -> RenderableType:
    """Draw the table of nodes."""
    table = Table(expand=True)
    for heading in ("Node", "Role", "Process", "Why"):
        table.add_column(heading)
    for node in status.nodes:
        process = f"{node.process}, cut off" if node.cut else node.process
        role = Text(node.role, style=ROLE_STYLES.get(node.role, "yellow"))
        table.add_row(node.address, role, process, node.reason)
    return table


def writes_of(status: DemoStatus) -> RenderableType:
    """Draw the addresses for users, and the count of stored writes."""
    writes = status.writes
    balanced = status.entrance == (LOAD_BALANCER,)
    way = "load balancer" if balanced else "no load balancer; any of"
    links = ", ".join(f"https://{at}:{HTTPS_PORT}" for at in status.entrance)
    return Text(
        f"Open {links} ({way}); serving now: {writes.by or 'no node'}\n"
        f"Stored writes: {writes.stored}, {writes.per_second:.0f} in the last second, "
        f"{writes.lost} lost"
    )


def timeline(failover: Failover) -> RenderableType:
    """Draw the phases of *failover* one after the other."""
    title = (
        f"Last failover: {failover.before} to {failover.after} in "
        f"{failover.seconds:.2f} s"
    )
    table = Table.grid(padding=(0, 1))
    passed = 0.0
    whole = failover.seconds or 1.0
    for name, seconds in failover.phases.items():
        begin, end = (
            round(BAR_CELLS * min(at / whole, 1.0)) for at in (passed, passed + seconds)
        )
        bar = Text(" " * begin + "█" * max(1, end - begin), style="magenta")
        table.add_row(name, f"{seconds:.3f} s", bar)
        passed += seconds
    return Panel(Group(Text(failover.reason), table), title=title)


def sentence(event: Event) -> str:
    """Return a sentence on *event* for people."""
    match event:
        case ProgressReport(step):
            return f"… {step}"
        case Ready(seconds):
            return f"Ready after {seconds:.1f} s."
        case RoleObserved(address, role, reason):
            return f"{address} is {role}: {reason}"
        case NodeEnded(address, code):
            return f"{address} ended by itself (code {code}); `start {address}`"
        case Failover():
            return (
                f"Writes go on after {event.seconds:.2f} s, at {event.after}; "
                f"{event.lost} lost."
            )
        case CommandResult():
            return f"{event.command}: {event.message}"
