"""The roles; rights.py says what each may do."""

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
