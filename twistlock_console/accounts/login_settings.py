"""The logon settings: how long sessions last, and how people may log in."""

from dataclasses import dataclass
from typing import Any, Self

from pymongo.database import Database

SETTINGS = "settings"
LOGON = "logon"
SHORTEST_TIMEOUT = 60
LONGEST_TIMEOUT = 71_580 * 60


@dataclass(frozen=True, slots=True)
class LogonSettings:
    """*session_timeout_sec* of silence end a session, and a token's life."""

    session_timeout_sec: int = 1800
    strong_password: bool = False
    basic_auth_disabled: bool = False

    @classmethod
    def from_document(cls, found: dict[str, Any]) -> Self:
        """Read the stored settings; what was never stored has its default."""
        usual = cls()
        return cls(
            found.get("sessionTimeoutSec", usual.session_timeout_sec),
            found.get("strongPassword", usual.strong_password),
            found.get("basicAuthDisabled", usual.basic_auth_disabled),
        )

    def to_json(self) -> dict[str, Any]:
        """Give the settings as the API shows them."""
        return {
            "sessionTimeoutSec": self.session_timeout_sec,
            "strongPassword": self.strong_password,
            "basicAuthDisabled": self.basic_auth_disabled,
        }


def read_logon(database: Database[dict[str, Any]]) -> LogonSettings:
    """Read the settings in force."""
    return LogonSettings.from_document(
        database[SETTINGS].find_one({"_id": LOGON}) or {}
    )


def write_logon(
    database: Database[dict[str, Any]], new: LogonSettings
) -> LogonSettings:
    """Store *new* as a whole and give the settings it replaced."""
    old = database[SETTINGS].find_one_and_replace(
        {"_id": LOGON}, new.to_json(), upsert=True
    )
    return LogonSettings.from_document(old or {})
