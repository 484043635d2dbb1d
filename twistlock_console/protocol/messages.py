"""The messages: text frames with a JSON object whose ``type`` says which one it is.

The Console speaks first: until a Defender has seen the epoch it must not obey.
Members that are not known here are ignored, so that a newer peer may add some.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from twistlock_console.protocol.bounds import (
    WIRE,
    Amount,
    M,
    Name,
    Natural,
    Pem,
    ProtocolError,
    Word,
    decode_as,
)
from twistlock_console.protocol.findings import MAX_EVENTS, TaggedEvent
from twistlock_console.protocol.policy import HostRule

PROTOCOL: Final = 1
"""The protocol's version; peers with different versions do not talk."""
MAX_MESSAGE_CHARACTERS: Final = 1024 * 1024
"""Characters of a message, at most."""
RENEWAL_DAYS: Final = 100
"""A Defender's certificate is renewed so many days before its end, and not earlier."""
HELLO_TIMEOUT_S: Final = 60.0
"""How long a Defender waits for the Console's first message."""


@dataclass(frozen=True, slots=True)
class ConsoleHello:
    """The Console's first message.

    *epoch* grows with every Console that takes over. A Defender keeps the highest it
    has seen and leaves a Console that shows a lower one. *renews* says whether it
    answers a RenewalRequested; older ones would take offence.
    """

    epoch: Natural
    version: Name
    protocol: Natural = PROTOCOL
    renews: bool = False
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class PolicyPushed:
    """The rule to enforce from now on, None for nothing; *hash* is to be repeated."""

    version: Natural
    hash: Word
    rule: HostRule | None
    type: Literal["policy"] = "policy"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Every event numbered up to *through* is stored by a majority."""

    through: Natural
    type: Literal["ack"] = "ack"


@dataclass(frozen=True, slots=True)
class CertificateRenewed:
    """The answer to a RenewalRequested: the Defender's next *certificate* (PEM)."""

    certificate: Pem
    type: Literal["certificate"] = "certificate"


@dataclass(frozen=True, slots=True)
class Scan:
    """Asks for a run of the compliance checks, now."""

    type: Literal["scan"] = "scan"


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Before a planned close: come back after *retry_after_ms* + up to *spread_ms*."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    retry_after_ms: Natural
    spread_ms: Natural
    type: Literal["goodbye"] = "goodbye"


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a Ping."""

    type: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a host is; sizes in GB, *packages* counts those installed."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    os: Word = ""
    kernel: Word = ""
    fqdn: Word = ""
    cpu_count: Natural = 0
    memory_gb: Annotated[Amount, Field(alias="memoryGB")] = 0.0
    total_disk_space_gb: Annotated[Amount, Field(alias="totalDiskSpaceGB")] = 0.0
    free_disk_space_gb: Annotated[Amount, Field(alias="freeDiskSpaceGB")] = 0.0
    packages: Natural = 0


@dataclass(frozen=True, slots=True)
class DefenderHello:
    """A Defender's first message: its name, as in its certificate, and its release.

    *policy* is the hash of the rule that it enforces, empty when it has none.
    """

    defender: Name
    version: Name
    protocol: Natural = PROTOCOL
    policy: Word = ""
    facts: Facts = field(default_factory=Facts)
    type: Literal["hello"] = "hello"


def _check_rising(events: tuple[TaggedEvent, ...]) -> tuple[TaggedEvent, ...]:
    before = 0
    for event in events:
        if event.number <= before:
            raise ValueError("the numbers of events must rise")
        before = event.number
    return events


@dataclass(frozen=True, slots=True)
class Events:
    """Findings, their numbers rising; sent again from the first unacknowledged one."""

    events: Annotated[
        tuple[TaggedEvent, ...],
        Field(min_length=1, max_length=MAX_EVENTS),
        AfterValidator(_check_rising),
    ]
    type: Literal["events"] = "events"


@dataclass(frozen=True, slots=True)
class FactsChanged:
    """The host's facts, at most once an hour."""

    facts: Facts
    type: Literal["facts"] = "facts"


@dataclass(frozen=True, slots=True)
class RenewalRequested:
    """Asks for another certificate, for the key that signed *request* (PEM).

    The one of this connection must end within RENEWED_DAYS.
    """

    request: Pem
    type: Literal["renewal"] = "renewal"


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the Console still serves; answered with a Pong."""

    type: Literal["ping"] = "ping"


FromConsole = (
    ConsoleHello
    | PolicyPushed
    | Acknowledged
    | CertificateRenewed
    | Scan
    | Goodbye
    | Pong
)
FromDefender = DefenderHello | Events | FactsChanged | RenewalRequested | Ping

_from_console: TypeAdapter[FromConsole] = TypeAdapter(
    Annotated[FromConsole, Field(discriminator="type")]
)
_from_defender: TypeAdapter[FromDefender] = TypeAdapter(
    Annotated[FromDefender, Field(discriminator="type")]
)
_kinds: dict[type, TypeAdapter[FromConsole | FromDefender]] = {
    kind: TypeAdapter(kind) for kind in (*FromConsole.__args__, *FromDefender.__args__)
}


def encode(message: FromConsole | FromDefender) -> str:
    """Write *message* as the text of a frame."""
    return _kinds[type(message)].dump_json(message, by_alias=True).decode()


def encode_ack(through: int) -> str:
    """Write Acknowledged(*through*), at a tenth of the cost: each message gets one."""
    return f'{{"through":{through},"type":"ack"}}'


def decode_from_console(frame: str | bytes) -> FromConsole:
    """Read what a Console sent. Raises ProtocolError."""
    return _decode(_from_console, frame)


def decode_from_defender(frame: str | bytes) -> FromDefender:
    """Read what a Defender sent. Raises ProtocolError."""
    return _decode(_from_defender, frame)


def check_protocol(hello: ConsoleHello | DefenderHello) -> None:
    """Raise ProtocolError unless the peer speaks our version."""
    if hello.protocol != PROTOCOL:
        raise ProtocolError(
            f"we speak protocol {PROTOCOL}, not {hello.protocol}; upgrade one",
            code=1002,
        )


def _decode(kind: TypeAdapter[M], frame: str | bytes) -> M:
    if isinstance(frame, bytes):
        raise ProtocolError("messages are text, not bytes", code=1003)
    if len(frame) > MAX_MESSAGE_CHARACTERS:
        sentence = f"a message has at most {MAX_MESSAGE_CHARACTERS} characters"
        raise ProtocolError(sentence, code=1009)
    return decode_as(kind, frame)
