"""What the API answers about Defenders, their events and their compliance."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from twistlock_console.protocol.findings import Change, Effect, Severity
from twistlock_console.web.openapi.responses import Answer


class SystemInfo(Answer):
    """What a host has; sizes in GB."""

    model_config = ConfigDict(extra="allow")


class DefenderAnswer(Answer):
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


class SummaryAnswer(Answer):
    """How many Defenders of a category there are, and how many are connected."""

    category: str
    connected: int
    deployed: int


class EventAnswer(Answer):
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


class HostAuditAnswer(EventAnswer):
    """A denied process; *outcome* says what was done about it."""

    name: str
    user: str
    outcome: str
    path: str
    command: str
    pid: int


class FileAuditAnswer(EventAnswer):
    """A change of a watched file; what could not be known is null."""

    path: str
    change: Change
    process: str | None
    hash_before: str | None
    hash_after: str | None
    mode: str | None
    owner: str | None


class TroubleAnswer(EventAnswer):
    """What a Defender could not enforce, or how many events it had to drop."""

    sentence: str | None
    count: int | None
    first: int | None
    last: int | None


class ResultAnswer(Answer):
    """How one check ended."""

    id: str
    title: str
    severity: Severity
    passed: bool
    detail: str


class ComplianceAnswer(Answer):
    """The latest run of the checks on a host; its times are as those of events."""

    hostname: str
    failed: int
    severe: int
    checks: int
    received: datetime
    time: datetime
    clock_ahead_seconds: int | None
    rule: str
    results: list[ResultAnswer]


class DefenderSettingsAnswer(Answer):
    """When a Defender that is away is alerted of and removed; its quota of events."""

    disconnect_period_days: int
    alert_hours: int
    event_quota_megabytes: int
