"""Models of API requests and responses, as openapi.json describes them.

Each request body is validated where it enters; tests validate responses.
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

#: Type of an entry in the history.
AuditKind = Annotated[
    str,
    WithJsonSchema({"type": "string", "enum": [str(kind) for kind in audit_kinds()]}),
]


class UserBody(Body):
    """A user as a whole; a field that is left out gets its default.

    A password that is left out of a change stays as it is. *lastModified*, which GET
    returns, is accepted and ignored.
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
    """Base of responses: these fields and no others, in camel case."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class TokenResponse(ApiResponse):
    """A bearer token."""

    token: str


class InitializedResponse(ApiResponse):
    """The state of the sign-up: true after the first administrator was created."""

    initialized: bool


class UserResponse(ApiResponse):
    """A user."""

    username: str
    role: UserRole
    auth_type: str
    last_modified: datetime


class HistoryFiltersResponse(ApiResponse):
    """Values for the filters of the history; at most 1,000 usernames."""

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
    """Properties of a host; sizes are in GB."""

    model_config = ConfigDict(extra="allow")


class DefenderResponse(ApiResponse):
    """A Defender; *lastModified* is the time when it last connected or disconnected.

    *droppedEvents* counts events over its quota, which were not stored.
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
    """Numbers of Defenders in a category: deployed, and connected."""

    category: str
    connected: int
    deployed: int


class EventResponse(ApiResponse):
    """Fields of every event of a Defender.

    *received* is the time when the Console received it; lists are sorted by it. *time*
    is when it happened by the host's clock. If that clock is ahead of the time of
    receipt, by *clockAheadSeconds*, *time* is the time of receipt.
    """

    received: datetime
    time: datetime
    clock_ahead_seconds: int | None
    hostname: str
    rule: str
    effect: Effect
    kind: str


class HostAuditResponse(EventResponse):
    """A denied process; *outcome* says what the Defender did about it."""

    name: str
    user: str
    outcome: str
    path: str
    command: str
    pid: int


class FileAuditResponse(EventResponse):
    """A change of a watched file; an unknown value is null."""

    path: str
    change: Change
    process: str | None
    hash_before: str | None
    hash_after: str | None
    mode: str | None
    owner: str | None


class TroubleResponse(EventResponse):
    """A problem of a Defender: a rule it could not enforce, or events it dropped."""

    sentence: str | None
    count: int | None
    first: int | None
    last: int | None


class ResultResponse(ApiResponse):
    """The result of one compliance check."""

    id: str
    title: str
    severity: Severity
    passed: bool
    detail: str


class ComplianceResponse(ApiResponse):
    """The latest run of the checks on a host; times have the meaning as in events."""

    hostname: str
    failed: int
    severe: int
    checks: int
    received: datetime
    time: datetime
    clock_ahead_seconds: int | None
    rule: str
    results: list[ResultResponse]
