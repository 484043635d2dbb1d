"""Define the types of values on the wire with their limits; describe invalid ones."""

from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

WIRE: Final = ConfigDict(alias_generator=to_camel)
"""Members are camelCase on the wire; unknown ones are ignored."""

MAX_MISTAKE_CHARACTERS: Final = 500

M = TypeVar("M")
Name = Annotated[str, Field(min_length=1, max_length=255)]
Word = Annotated[str, Field(max_length=255)]
Sentence = Annotated[str, Field(max_length=1024)]
Path = Annotated[str, Field(min_length=1, max_length=4096)]
Glob = Annotated[str, Field(min_length=1, max_length=1024)]
Pem = Annotated[str, Field(min_length=1, max_length=8192)]
Natural = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Number = Annotated[int, Field(ge=1, lt=2**63, strict=True)]
Amount = Annotated[float, Field(ge=0, lt=1e12)]
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC)),
]
"""A time with its zone, RFC 3339 on the wire, within what a database can hold."""


class ProtocolError(Exception):
    """A peer violated the protocol; *code* is the websocket close code for it."""

    def __init__(self, sentence: str, code: int = 1007) -> None:
        super().__init__(sentence)
        self.code = code


def decode_as(kind: TypeAdapter[M], text: str | bytes) -> M:
    """Parse JSON as *kind*. Raises ProtocolError with the first mistake."""
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        raise ProtocolError(f"malformed message{describe_first_error(error)}") from None


def describe_first_error(error: ValidationError) -> str:
    """Return the first mistake and its place, as `` (place): sentence``.

    It is one line: pydantic repeats in it what the peer sent.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    where = f" ({place})" if place else ""
    sentence = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    return "".join(c if c.isprintable() else "?" for c in sentence)[
        :MAX_MISTAKE_CHARACTERS
    ]
