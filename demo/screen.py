"""The demo for people: a live screen, with a line for commands at its foot."""

import os
import sys
import termios
import threading
import tty
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from demo.command_queue import Lines
from demo.console_lines import HELP
from demo.drawing import nodes, sentence, timeline, writes_of
from demo.events import Event, Picture, Ready

KEPT_LINES = 8


class Screen:
    """Draws on the terminal and reads its keys; any thread may tell."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._told: deque[str] = deque(maxlen=KEPT_LINES)
        self._typed = ""
        self._account = ""
        self._picture: Picture | None = None
        self._before = termios.tcgetattr(sys.stdin)
        self._live = Live(
            get_renderable=self._draw,
            console=Console(),
            screen=True,
            refresh_per_second=5,
        )

    def open(self) -> None:
        """Take over the terminal."""
        tty.setcbreak(sys.stdin)
        self._live.start()
        threading.Thread(target=self._read, name="keys", daemon=True).start()

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._live.stop()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def tell(self, event: Event) -> None:
        """Add a line on *event*."""
        self._told.append(sentence(event))
        if isinstance(event, Ready):
            user, password = event.demo["user"], event.demo["password"]
            self._account = f"Log in as {user} with the password {password}"

    def show(self, picture: Picture) -> None:
        """Draw *picture* from now on."""
        self._picture = picture

    def _read(self) -> None:
        while keys := os.read(sys.stdin.fileno(), 64).decode(errors="ignore"):
            # Arrows and the like begin with an escape, and mean nothing here.
            if keys[0] != "\x1b":
                for key in keys:
                    self._type(key)
            self._live.refresh()

    def _type(self, key: str) -> None:
        if key in "\r\n":
            self._lines.put(self._typed)
            self._typed = ""
        elif key in "\x7f\x08":
            self._typed = self._typed[:-1]
        elif key.isprintable():
            self._typed += key

    def _draw(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._picture:
            parts += [nodes(self._picture), writes_of(self._picture)]
            parts.append(Text(self._account))
            if self._picture.failover:
                parts.append(timeline(self._picture.failover))
        parts += [Text(line) for line in self._told]
        parts += [Text(HELP, style="dim"), Text(f"> {self._typed}_", style="bold")]
        return Panel(Group(*parts), title="Twistlock Console demo")
