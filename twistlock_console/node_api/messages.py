"""The base of the messages of the node API: one model per message, on both sides."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from twistlock_console.common.errors import NodeUnreachable, Refused

_DATE_TIME = WithJsonSchema({"type": "string", "format": "date-time"})

#: A time with milliseconds, and one with whole seconds; both with their offset.
Timestamp = Annotated[
    datetime,
    PlainSerializer(lambda t: t.isoformat(timespec="milliseconds")),
    _DATE_TIME,
]
TimeInSeconds = Annotated[
    datetime, PlainSerializer(lambda t: t.isoformat(timespec="seconds")), _DATE_TIME
]


class NodeMessage(BaseModel):
    """The payload of a request or a response; unknown members are ignored.

    The public API passes some responses on, and documents all their members.
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra={"additionalProperties": False},
    )

    @classmethod
    def from_answer(cls, content: object) -> Self:
        """Parse the response of a node; raises NodeUnreachable if it is not valid."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise NodeUnreachable(
                f"the node's response is not valid: {_first_problem(error)}"
            ) from error

    @classmethod
    def from_body(cls, content: object) -> Self:
        """Parse the body of a request; raises Refused if a text is missing or ""."""
        try:
            body = cls.model_validate(content if isinstance(content, dict) else {})
        except ValidationError as error:
            raise _missing_text(error.errors()[0]["loc"][0]) from error
        for name, field in cls.model_fields.items():
            if field.is_required() and getattr(body, name) == "":
                raise _missing_text(field.alias or name)
        return body

    def as_json(self) -> dict[str, object]:
        """Return the members as JSON values."""
        return self.model_dump(mode="json", by_alias=True)


def _missing_text(name: object) -> Refused:
    return Refused(f'"{name}" is missing or is no text.')


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
