"""What API calls answer with, as openapi.json describes it; tests hold them to it."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

from twistlock_console.accounts.rights import UserRole
from twistlock_console.audit.trail import audit_kinds


class Answer(BaseModel):
    """An answer: these fields, and no others."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class TokenAnswer(Answer):
    """A bearer token."""

    token: str


class InitializedAnswer(Answer):
    """Whether the first administrator has signed up."""

    initialized: bool


class LogonAnswer(Answer):
    """The logon settings."""

    session_timeout_sec: int
    strong_password: bool
    basic_auth_disabled: bool


#: An entry of the history is of one of these types.
AuditKind = Annotated[
    str,
    WithJsonSchema({"type": "string", "enum": [str(kind) for kind in audit_kinds()]}),
]


class UserAnswer(Answer):
    """A user."""

    username: str
    role: UserRole
    auth_type: str
    last_modified: datetime


class HistoryFiltersAnswer(Answer):
    """What the history can be filtered by; of the usernames 1,000 at most."""

    type: list[AuditKind]
    username: list[str]


class HistoryAnswer(Answer):
    """An entry of the history."""

    model_config = ConfigDict(alias_generator=None)

    time: datetime
    type: AuditKind
    username: str
    sourceIP: str  # noqa: N815 - the product's name
    api: str
    status: str
    failure: bool
    diff: str
