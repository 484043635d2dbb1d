"""Tells from mongod's log why it ended, as one sentence for an operator."""

import json
import signal
from collections.abc import Iterable, Iterator
from typing import Any

#: What it complained about longer ago is not why it ended.
LAST_LINES = 20
#: Logged as information, though it is why the start failed.
KEYFILE_UNREADABLE = 20254
#: Fatal lines that say only that a fatal line was written.
EMPTY_WORDS = frozenset({23089, 23090, 6384300})

#: What to do about it, by a piece of mongod's own words. The first that fits counts.
ADVICE = (
    (
        "Address already in use",
        "another program has its port; stop that one, or change DATABASE_PORT",
    ),
    (
        "Cannot assign requested address",
        "this host does not have the address; correct NODE_ADDRESS",
    ),
    (
        "are too open",
        "the keyfile is open to others; make it readable for its owner alone "
        "(chmod 600)",
    ),
    ("Another mongod instance", "another mongod uses the same data folder; end it"),
    ("No space left on device", "the disk is full; free some space"),
    ("Permission denied", "it may not use one of its files; check who owns them"),
    ("Read-only file system", "the disk became read-only; check the disk"),
    ("Input/output error", "the disk fails; replace it and let the node join anew"),
    (
        "featureCompatibilityVersion",
        "the data files are of another version of MongoDB; correct MONGOD_BINARY",
    ),
    (
        "unsupported WiredTiger file version",
        "the data files are of another version of MongoDB; correct MONGOD_BINARY",
    ),
    (
        "corruption",
        "the data files are damaged; remove the node and let it join anew, or restore "
        "a backup",
    ),
    (
        "InvalidSSLConfiguration",
        "its certificate cannot be used; check the certificates folder",
    ),
)


def why_it_ended(code: int, log: Iterable[str], output: str) -> str:
    """Give the reason from the exit *code*, the *log* of this run and its *output*.

    A negative *code* is the signal that ended it. Lines that are no JSON are skipped.
    """
    if code == 0:
        return "mongod ended because something told it to"
    if code == -signal.SIGKILL:
        return "mongod was killed, by someone or because the host ran out of memory"
    words = list(_telling(log))[-LAST_LINES:]
    for piece, advice in ADVICE:
        if telling := next((word for word in words if piece in word), None):
            return f"mongod ended: {advice}: {telling}"
    if words:
        return f"mongod ended with code {code}: {words[-1]}"
    if code < 0:
        return f"mongod was ended by signal {-code}"
    first = next((line for line in output.splitlines() if line.strip()), "no word")
    return f"mongod ended with code {code}: {first.strip()[:300]}"


def _telling(log: Iterable[str]) -> Iterator[str]:
    """Give the text of each line that is an error."""
    for line in log:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and _is_error(entry):
            yield _text(entry)


def _is_error(entry: dict[str, Any]) -> bool:
    number = entry.get("id")
    if number == KEYFILE_UNREADABLE:
        return True
    return entry.get("s") in ("E", "F") and number not in EMPTY_WORDS


def _text(entry: dict[str, Any]) -> str:
    """Give the line's message with the values of its attributes, shortened."""
    values = " ".join(_values(entry.get("attr", {})))
    return f"{entry.get('msg', '')} ({values})"[:300].replace("\n", " ")


def _values(attribute: object) -> Iterator[str]:
    if isinstance(attribute, dict):
        for value in attribute.values():
            yield from _values(value)
    elif isinstance(attribute, str):
        yield attribute
