"""Define the base class of JSON bodies."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Body(BaseModel):
    """A JSON body: unknown fields and implicit conversions of types are errors."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel
    )
