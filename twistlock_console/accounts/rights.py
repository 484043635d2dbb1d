"""What each role may do, in one table: for pages and API alike.

docs/roles.md shows the table, and a test tries each role against every page and path.
"""

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

from twistlock_console.accounts.roles import UserRole


class Area(StrEnum):
    """A part of the Console that is allowed or refused as a whole."""

    OWN_ACCOUNT = "One's own account, version, description of the API"
    USERS = "Users"
    LOGON = "Logon settings"
    HISTORY = "History of admin activity"
    SYSTEM = "General settings of the node, its log"
    SUPPORT = "What support needs: dumps"
    HIGH_AVAILABILITY = "High availability"
    CONSOLE_SCRIPTS = "Script and release with which a host joins"
    BACKUPS = "List of backups"
    BACKUP_FILES = "Backups themselves: create, download, upload, restore, delete"
    DEFENDERS = "Defenders"
    DEFENDER_NAMES = "Names under which Defenders reach the Console"
    DEFENDER_SCRIPTS = "Script and package that install a Defender"
    POLICIES = "Defend: policies"
    EVENTS = "Monitor: events"
    ALERTS = "Alerts and logging"
    METRICS = "Metrics"
    DEMO = "Writes of the demo"


class Right(IntEnum):
    """How far a role's right goes; the higher ones include the lower ones."""

    NONE = 0
    READ = 1
    CHANGE = 2


_, R, C = Right

# fmt: off
_TABLE = {
    #                        Administrator, Operator, Auditor, Defender Manager
    Area.OWN_ACCOUNT:       (C, C, C, C),
    Area.USERS:             (C, R, R, _),
    Area.LOGON:             (C, R, R, R),
    Area.HISTORY:           (C, R, R, R),
    Area.SYSTEM:            (C, R, R, R),
    Area.SUPPORT:           (C, _, _, _),
    Area.HIGH_AVAILABILITY: (C, R, R, R),
    Area.CONSOLE_SCRIPTS:   (C, C, _, C),
    Area.BACKUPS:           (C, R, R, _),
    Area.BACKUP_FILES:      (C, _, _, _),
    Area.DEFENDERS:         (C, C, R, C),
    Area.DEFENDER_NAMES:    (C, R, R, _),
    Area.DEFENDER_SCRIPTS:  (C, C, _, C),
    Area.POLICIES:          (C, C, R, _),
    Area.EVENTS:            (C, C, R, _),
    Area.ALERTS:            (C, R, R, R),
    Area.METRICS:           (C, R, R, _),
    Area.DEMO:              (C, _, _, _),
}
# fmt: on

#: By area and role.
RIGHTS: Mapping[Area, Mapping[UserRole, Right]] = MappingProxyType(
    {
        area: MappingProxyType(dict(zip(UserRole, row, strict=True)))
        for area, row in _TABLE.items()
    }
)


def may(role: UserRole, area: Area, *, change: bool) -> bool:
    """Tell whether *role* may read, or with *change* also change, what is in *area*."""
    return RIGHTS[area][role] >= (Right.CHANGE if change else Right.READ)
