"""Define roles, areas and rights: one table for pages and API.

docs/roles.md shows the table; a test tries each role against every page and path.
Plugins add areas of their own (`ConsolePlugin.rights`).
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class UserRole(StrEnum):
    """A user's role, by the name that the API uses."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    DEFENDER_MANAGER = "defenderManager"

    @property
    def label(self) -> str:
        """Return the name that the pages show."""
        return LABELS[self]


LABELS = {
    UserRole.ADMIN: "Administrator",
    UserRole.OPERATOR: "Operator",
    UserRole.AUDITOR: "Auditor",
    UserRole.DEFENDER_MANAGER: "Defender Manager",
}


class Right(IntEnum):
    """The right of a role to an area; a higher one includes the lower ones."""

    NONE = 0
    READ = 1
    CHANGE = 2


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the Console to which a role has one right as a whole.

    *rights* are those of Administrator, Operator, Auditor and Defender Manager. The
    manual does not show an area that is not *documented*.
    """

    title: str
    rights: tuple[Right, Right, Right, Right]
    documented: bool = True

    def right_of(self, role: UserRole) -> Right:
        """Return the right of *role* to this area."""
        return self.rights[tuple(UserRole).index(role)]


N, R, C = Right


class Areas:
    """The areas of the core."""

    # fmt: off
    OWN_ACCOUNT = Area("One's own account, version, description of the API",
                       (C, C, C, C))
    USERS = Area("Users", (C, R, R, N))
    LOGON = Area("Logon settings", (C, R, R, R))
    HISTORY = Area("History of admin activity", (C, R, R, R))
    SYSTEM = Area("General settings of the node, its log", (C, R, R, R))
    SUPPORT = Area("What support needs: dumps", (C, N, N, N))
    BACKUPS = Area("List of backups", (C, R, R, N))
    BACKUP_FILES = Area(
        "Backups themselves: create, download, upload, restore, delete", (C, N, N, N))
    DEFENDERS = Area("Defenders", (C, C, R, C))
    DEFENDER_NAMES = Area("Names under which Defenders reach the Console",
                          (C, R, R, N))
    DEFENDER_SCRIPTS = Area("Script and package that install a Defender",
                            (C, C, N, C))
    POLICIES = Area("Defend: policies", (C, C, R, N))
    EVENTS = Area("Monitor: events", (C, C, R, N))
    ALERTS = Area("Alerts and logging", (C, R, R, R))
    METRICS = Area("Metrics", (C, R, R, N))


CORE_AREAS: tuple[Area, ...] = tuple(
    area for area in vars(Areas).values() if isinstance(area, Area)
)


def may(role: UserRole, area: Area, *, change: bool) -> bool:
    """Return whether *role* may read *area*, or change it if *change* is true."""
    return area.right_of(role) >= (Right.CHANGE if change else Right.READ)
