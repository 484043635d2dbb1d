"""Define, read and store the logon settings: session timeout and ways to log in."""

from collections.abc import Mapping
from typing import Self

from pydantic import ConfigDict, Field
from pymongo.database import Database

from twistlock_console.common.models import Body

SETTINGS = "settings"
LOGON = "logon"
MIN_SESSION_TIMEOUT_S = 60
MAX_SESSION_TIMEOUT_S = 71_580 * 60


class LogonSettings(Body):
    """The logon settings; a field that is missing in a request gets its default."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
    # Seconds without a request after which a session or a token ends.
    session_timeout_sec: int = Field(
        default=1800, ge=MIN_SESSION_TIMEOUT_S, le=MAX_SESSION_TIMEOUT_S
    )
    strong_password: bool = False
    basic_auth_disabled: bool = False

    @classmethod
    def from_document(cls, found: Mapping[str, object]) -> Self:
        """Parse the stored settings; ignore members of other releases."""
        known = {field.alias for field in cls.model_fields.values()}
        return cls.model_validate({n: v for n, v in found.items() if n in known})

    def to_json(self) -> dict[str, object]:
        """Return the settings as the API shows them, and as they are stored."""
        return self.model_dump(by_alias=True)


def read_logon(database: Database[dict[str, object]]) -> LogonSettings:
    """Read the settings in force."""
    return LogonSettings.from_document(
        database[SETTINGS].find_one({"_id": LOGON}) or {}
    )


def write_logon(
    database: Database[dict[str, object]], new: LogonSettings
) -> LogonSettings:
    """Replace the stored settings by *new*; return the previous ones."""
    old = database[SETTINGS].find_one_and_replace(
        {"_id": LOGON}, new.to_json(), upsert=True
    )
    return LogonSettings.from_document(old or {})
