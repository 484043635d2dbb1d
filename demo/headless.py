"""Run the demo for programs: commands are lines, events are JSON objects in lines."""

import json
import re
import sys
import threading
from dataclasses import asdict

from demo.commands import CommandQueue
from demo.events import (
    CommandResult,
    DemoStatus,
    Event,
    Failover,
    NodeEnded,
    ProgressReport,
    Ready,
    RoleObserved,
)

NAMES: dict[type, str] = {
    ProgressReport: "progress",
    Ready: "ready",
    RoleObserved: "role",
    NodeEnded: "nodeEnded",
    Failover: "failover",
    CommandResult: "answer",
}


class Headless:
    """Reads standard input and writes standard output; any thread may call `tell`."""

    def __init__(self, commands: CommandQueue) -> None:
        self._commands = commands
        self._turn = threading.Lock()

    def open(self) -> None:
        """Start to read commands."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def close(self) -> None:
        """Do nothing: there is no terminal to restore."""

    def tell(self, event: Event) -> None:
        """Write *event* as one line."""
        line = as_json(event)
        with self._turn:
            try:
                print(line, flush=True)  # noqa: T201
            except BrokenPipeError:
                # The program that started the demo ended; stop the nodes too.
                self._commands.end()

    def show(self, status: DemoStatus) -> None:
        """Do nothing: programs use the command `status`."""

    def _read(self) -> None:
        # The end of the input is no command: the demo may run without input.
        for line in sys.stdin:
            if line.strip():
                self._commands.put(line.strip())


def as_json(event: Event) -> str:
    """Return *event* as one line of JSON, with names in the API's style."""
    facts = asdict(event)
    if isinstance(event, Ready):
        facts |= {k: v for k, v in event.demo.items() if k != "password"}
        del facts["demo"]
    if isinstance(event, CommandResult) and event.status is None:
        del facts["status"]
    return json.dumps({"event": NAMES[type(event)], **_camel(facts)})


def _camel(facts: dict[str, object]) -> dict[str, object]:
    return {_name(key): _value(value) for key, value in facts.items()}


def _value(value: object) -> object:
    if isinstance(value, dict):
        return _camel(value)
    if isinstance(value, list | tuple):
        return [_value(one) for one in value]
    return value


def _name(key: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), key)
