"""What each role includes, in one table."""

from enum import StrEnum


class UserRole(StrEnum):
    """A user's role, by the name that the API uses."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    DEFENDER_MANAGER = "defenderManager"

    @property
    def label(self) -> str:
        """The name that the pages show."""
        return LABELS[self]


LABELS = {
    UserRole.ADMIN: "Administrator",
    UserRole.OPERATOR: "Operator",
    UserRole.AUDITOR: "Auditor",
    UserRole.DEFENDER_MANAGER: "Defender Manager",
}

#: A role may do all that the roles beside it may do.
INCLUDES = {
    UserRole.ADMIN: frozenset(UserRole),
    UserRole.OPERATOR: frozenset(
        {UserRole.OPERATOR, UserRole.AUDITOR, UserRole.DEFENDER_MANAGER}
    ),
    UserRole.AUDITOR: frozenset({UserRole.AUDITOR}),
    UserRole.DEFENDER_MANAGER: frozenset({UserRole.DEFENDER_MANAGER}),
}

ANYONE = frozenset(UserRole)
#: Settings and logs: Auditors read everything, Defender Managers these.
READERS = frozenset({UserRole.AUDITOR, UserRole.DEFENDER_MANAGER})


def allows(held: UserRole, accepted: frozenset[UserRole]) -> bool:
    """Tell whether *held* includes one of the *accepted* roles."""
    return not INCLUDES[held].isdisjoint(accepted)
