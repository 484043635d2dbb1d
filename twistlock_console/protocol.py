"""What a Console and a Defender say to each other over their websocket.

Each message is one text frame with a JSON object; its ``type`` says which message it
is. The Console speaks first: until a Defender has seen the epoch it must not obey.
Members that are not known here are ignored, so that a newer peer may add some.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

PROTOCOL: Final = 1
"""The protocol's version; peers with different versions do not talk."""
LARGEST_MESSAGE: Final = 1024 * 1024
"""Characters of a message, at most."""
HELLO_SECONDS: Final = 60.0
"""How long either side waits for the other's first message."""

M = TypeVar("M")
Name = Annotated[str, Field(min_length=1, max_length=255)]
Natural = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class ProtocolError(Exception):
    """A peer said what it must not say; *code* is the websocket close code for it."""

    def __init__(self, sentence: str, code: int = 1007) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class ConsoleHello:
    """The Console's first message.

    *epoch* grows with every Console that takes over. A Defender keeps the highest it
    has seen and leaves a Console that shows a lower one.
    """

    epoch: Natural
    version: Name
    protocol: Natural = PROTOCOL
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a Ping."""

    type: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class DefenderHello:
    """A Defender's first message: its name, as in its certificate, and its release."""

    defender: Name
    version: Name
    protocol: Natural = PROTOCOL
    type: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the Console still serves; answered with a Pong."""

    type: Literal["ping"] = "ping"


FromConsole = ConsoleHello | Pong
FromDefender = DefenderHello | Ping

_from_console: TypeAdapter[FromConsole] = TypeAdapter(
    Annotated[FromConsole, Field(discriminator="type")]
)
_from_defender: TypeAdapter[FromDefender] = TypeAdapter(
    Annotated[FromDefender, Field(discriminator="type")]
)
_any: TypeAdapter[FromConsole | FromDefender] = TypeAdapter(FromConsole | FromDefender)


def encode(message: FromConsole | FromDefender) -> str:
    """Write *message* as the text of a frame."""
    return _any.dump_json(message).decode()


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
    if len(frame) > LARGEST_MESSAGE:
        sentence = f"a message has at most {LARGEST_MESSAGE} characters"
        raise ProtocolError(sentence, code=1009)
    try:
        return kind.validate_json(frame)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        where = f" ({place})" if place else ""
        raise ProtocolError(f"malformed message{where}: {first['msg']}") from None
