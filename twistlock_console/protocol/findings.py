"""Define the events that a Defender reports, and their encoding.

Each event of a Defender has a unique number. Strings are Unicode: paths that are not
valid Unicode are written with replacement characters. The Defender must truncate a
value to its limit before it numbers the event; the Console closes the connection of a
Defender that exceeds a limit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from twistlock_console.protocol.bounds import (
    WIRE,
    Moment,
    Name,
    Natural,
    Number,
    Path,
    ProtocolError,
    Sentence,
    Word,
    decode_as,
)

MAX_EVENTS: Final = 500
"""Events in one message, at most."""
UNNUMBERED: Final = 0
"""The number of an event that no outbox has numbered yet."""
_HEAD: Final = f'{{"number":{UNNUMBERED},'

Effect = Literal["alert", "prevent"]
Change = Literal["created", "modified", "deleted", "attributes", "moved"]
Severity = Literal["low", "medium", "high", "critical"]


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """A process that the rule denies; *outcome* is what the Defender did about it.

    The outcome is ``alerted``, ``ended`` or ``could not be ended: …``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    number: Number
    time: Moment
    rule: Word
    effect: Effect
    pid: Natural
    path: Annotated[str, Field(max_length=4096)]
    name: Word
    command: Sentence
    user: Word
    outcome: Sentence
    kind: Literal["process"] = "process"


@dataclass(frozen=True, slots=True)
class FileEvent:
    """A change of a watched path; unknown values are None.

    *mode* is octal, as ``0644``; hashes are SHA-256 in hex; *process* is
    ``name (pid)``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    number: Number
    time: Moment
    rule: Word
    effect: Effect
    path: Path
    change: Change
    hash_before: Word | None = None
    hash_after: Word | None = None
    mode: Word | None = None
    owner: Word | None = None
    process: Sentence | None = None
    kind: Literal["file"] = "file"


@dataclass(frozen=True, slots=True)
class ComplianceResult:
    """The result of one compliance check."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    id: Name
    title: Name
    severity: Severity
    passed: bool
    detail: Sentence = ""


@dataclass(frozen=True, slots=True)
class ComplianceEvent:
    """The results of one run of the compliance checks."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    number: Number
    time: Moment
    rule: Word
    results: Annotated[tuple[ComplianceResult, ...], Field(max_length=200)]
    effect: Effect = "alert"
    kind: Literal["compliance"] = "compliance"


@dataclass(frozen=True, slots=True)
class DroppedEvent:
    """The outbox was full: *count* events, numbered *first* to *last*, are lost."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    number: Number
    time: Moment
    count: Number
    first: Number
    last: Number
    rule: Word = ""
    effect: Effect = "alert"
    kind: Literal["dropped"] = "dropped"


@dataclass(frozen=True, slots=True)
class TroubleEvent:
    """A part of the rule cannot be enforced now; *sentence* says which and why."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    number: Number
    time: Moment
    sentence: Sentence
    rule: Word = ""
    effect: Effect = "alert"
    kind: Literal["trouble"] = "trouble"


Event = ProcessEvent | FileEvent | ComplianceEvent | DroppedEvent | TroubleEvent
TaggedEvent = Annotated[Event, Field(discriminator="kind")]

_event: TypeAdapter[Event] = TypeAdapter(TaggedEvent)


def encode_event(event: Event) -> str:
    """Return *event* as JSON, as in a message and in an outbox."""
    return _event.dump_json(event, by_alias=True).decode()


def encode_unnumbered(event: Event) -> str:
    """Return *event* as an outbox stores it: the number is stored in another column."""
    return encode_event(replace(event, number=UNNUMBERED))


def encode_events(events: Iterable[tuple[int, str]]) -> str:
    """Return the message `Events` for numbers and bodies of `encode_unnumbered`.

    The bodies are not parsed again, because thousands are sent after a long outage.
    """
    texts = ",".join(_numbered(number, body) for number, body in events)
    return f'{{"type":"events","events":[{texts}]}}'


def is_sound_event(number: int, body: str) -> bool:
    """Return whether a Console can read *body*, as an outbox stores it."""
    try:
        decode_event(_numbered(number, body))
    except ProtocolError:
        return False
    return True


def _numbered(number: int, body: str) -> str:
    return f'{{"number":{number},{body.removeprefix(_HEAD)}'


def decode_event(text: str | bytes) -> Event:
    """Parse an event. Raises ProtocolError."""
    return decode_as(_event, text)


def event_members(event: Event) -> dict[str, object]:
    """Return the members of *event*, named as on the wire, with times as datetime."""
    members: dict[str, object] = _event.dump_python(event, by_alias=True)
    return members
