"""What requests may carry and what API calls answer with, as openapi.json describes it.

Each body is checked where it enters; tests hold the answers to their models.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

from twistlock_console.accounts.rights import UserRole
from twistlock_console.audit.trail import audit_kinds
from twistlock_console.common.models import Body
from twistlock_console.protocol.findings import Change, Effect, Severity
from twistlock_console.web.security.login_attempt import Name, Password

#: An entry of the history is of one of these types.
AuditKind = Annotated[
    str,
    WithJsonSchema({"type": "string", "enum": [str(kind) for kind in audit_kinds()]}),
]


class UserBody(Body):
    """A user as a whole; what is left out goes back to its default.

    A password that is left out of a change stays as it is. *lastModified*, which a
    GET gives, is taken back and means nothing.
    """

    username: Name
    password: Password | None = None
    role: UserRole = UserRole.AUDITOR
    auth_type: Literal["basic"] = "basic"
    last_modified: datetime | None = None


class PasswordChange(Body):
    """The present password and the new one."""

    old_password: Password
    new_password: Password


class ApiResponse(BaseModel):
    """An answer: these fields, and no others."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class TokenResponse(ApiResponse):
    """A bearer token."""

    token: str


class InitializedResponse(ApiResponse):
    """Whether the first administrator has signed up."""

    initialized: bool


class UserResponse(ApiResponse):
    """A user."""

    username: str
    role: UserRole
    auth_type: str
    last_modified: datetime


class HistoryFiltersResponse(ApiResponse):
    """What the history can be filtered by; of the usernames 1,000 at most."""

    type: list[AuditKind]
    username: list[str]


class HistoryResponse(ApiResponse):
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


class SystemInfo(ApiResponse):
    """What a host has; sizes in GB."""

    model_config = ConfigDict(extra="allow")


class DefenderResponse(ApiResponse):
    """A Defender; *lastModified* is when it last connected or left.

    *droppedEvents* counts those over its quota, which were not stored.
    """

    hostname: str
    fqdn: str
    version: str
    type: Literal["serverLinux"]
    category: Literal["host"]
    connected: bool
    last_modified: datetime | None
    compatible_version: bool
    alerted: bool
    certificate_expiration: datetime | None
    certificate_expired: bool
    address: str
    connected_since: datetime | None
    node: str
    policy: str
    os: str
    packages: int
    dropped_events: int
    system_info: SystemInfo


class SummaryResponse(ApiResponse):
    """How many Defenders of a category there are, and how many are connected."""

    category: str
    connected: int
    deployed: int


class EventResponse(ApiResponse):
    """What every event of a Defender has.

    *received* is when the Console got it: lists go by that. *time* is when it happened
    by the host's clock; where that is ahead of the time of receipt, by
    *clockAheadSeconds*, *time* is the time of receipt.
    """

    received: datetime
    time: datetime
    clock_ahead_seconds: int | None
    hostname: str
    rule: str
    effect: Effect
    kind: str


class HostAuditResponse(EventResponse):
    """A denied process; *outcome* says what was done about it."""

    name: str
    user: str
    outcome: str
    path: str
    command: str
    pid: int


class FileAuditResponse(EventResponse):
    """A change of a watched file; what could not be known is null."""

    path: str
    change: Change
    process: str | None
    hash_before: str | None
    hash_after: str | None
    mode: str | None
    owner: str | None


class TroubleResponse(EventResponse):
    """What a Defender could not enforce, or how many events it had to drop."""

    sentence: str | None
    count: int | None
    first: int | None
    last: int | None


class ResultResponse(ApiResponse):
    """How one check ended."""

    id: str
    title: str
    severity: Severity
    passed: bool
    detail: str


class ComplianceResponse(ApiResponse):
    """The latest run of the checks on a host; its times are as those of events."""

    hostname: str
    failed: int
    severe: int
    checks: int
    received: datetime
    time: datetime
    clock_ahead_seconds: int | None
    rule: str
    results: list[ResultResponse]
