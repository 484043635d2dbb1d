"""Define the messages: text frames with a JSON object and its ``type``.

The handshake: the Console sends ConsoleHello with its epoch (the fencing token), and
the Defender, if it accepts the epoch, answers with DefenderHello. Unknown members are
ignored, so that a newer peer may add some.
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
"""The maximum of characters in a message."""
RENEWAL_DAYS: Final = 100
"""A Defender's certificate is renewed in this many days before its end."""
HELLO_TIMEOUT_S: Final = 60.0
"""The time that a Defender waits for the Console's first message."""


@dataclass(frozen=True, slots=True)
class ConsoleHello:
    """The Console's first message.

    *epoch* grows with every failover. A Defender stores the highest epoch that it has
    seen and rejects a Console with a lower one (fencing). *renews* says whether the
    Console answers a RenewalRequested; an older one would close the connection.
    """

    epoch: Natural
    version: Name
    protocol: Natural = PROTOCOL
    renews: bool = False
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class PolicyPushed:
    """The rule to enforce, None for nothing; hellos of the Defender repeat *hash*."""

    version: Natural
    hash: Word
    rule: HostRule | None
    type: Literal["policy"] = "policy"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A majority has stored every event numbered up to *through*."""

    through: Natural
    type: Literal["ack"] = "ack"


@dataclass(frozen=True, slots=True)
class CertificateRenewed:
    """The answer to a RenewalRequested: the Defender's next *certificate* (PEM)."""

    certificate: Pem
    type: Literal["certificate"] = "certificate"


@dataclass(frozen=True, slots=True)
class Scan:
    """Requests a run of the compliance checks now."""

    type: Literal["scan"] = "scan"


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Announces a close: reconnect after *retry_after_ms* + up to *spread_ms*."""

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
    """Facts about a host; sizes in GB, *packages* is the number of installed ones."""

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
    """Events with rising numbers; sent again from the first unacknowledged one."""

    events: Annotated[
        tuple[TaggedEvent, ...],
        Field(min_length=1, max_length=MAX_EVENTS),
        AfterValidator(_check_rising),
    ]
    type: Literal["events"] = "events"


@dataclass(frozen=True, slots=True)
class FactsChanged:
    """The changed facts of the host, at most once an hour."""

    facts: Facts
    type: Literal["facts"] = "facts"


@dataclass(frozen=True, slots=True)
class RenewalRequested:
    """Requests another certificate for the key that signed *request* (PEM).

    The certificate of this connection must expire within RENEWAL_DAYS.
    """

    request: Pem
    type: Literal["renewal"] = "renewal"


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the Console still serves, which answers with a Pong (keepalive)."""

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
    """Return *message* as the text of a frame."""
    return _kinds[type(message)].dump_json(message, by_alias=True).decode()


def encode_ack(through: int) -> str:
    """Return Acknowledged(*through*) as text, at a tenth of the cost of `encode`."""
    return f'{{"through":{through},"type":"ack"}}'


def decode_from_console(frame: str | bytes) -> FromConsole:
    """Parse a message of a Console. Raises ProtocolError."""
    return _decode(_from_console, frame)


def decode_from_defender(frame: str | bytes) -> FromDefender:
    """Parse a message of a Defender. Raises ProtocolError."""
    return _decode(_from_defender, frame)


def check_protocol(hello: ConsoleHello | DefenderHello) -> None:
    """Raise ProtocolError unless the peer has our version of the protocol."""
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
