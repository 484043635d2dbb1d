"""Settings of Defenders: how long one may be away, and how much it may store."""

from dataclasses import dataclass
from typing import Any, Self

from pymongo.database import Database

SETTINGS = "settings"
DEFENDER = "defender"


@dataclass(frozen=True, slots=True)
class DefenderSettings:
    """Away for *alert_hours*: an alert. Away for *disconnect_period_days*: removed.

    *event_quota_megabytes* is what one may store of events in a day.
    """

    disconnect_period_days: int = 1
    alert_hours: int = 6
    event_quota_megabytes: int = 256

    @classmethod
    def from_document(cls, found: dict[str, Any]) -> Self:
        """Read the stored settings; what was never stored has its default."""
        usual = cls()
        return cls(
            found.get("disconnectPeriodDays", usual.disconnect_period_days),
            found.get("alertHours", usual.alert_hours),
            found.get("eventQuotaMegabytes", usual.event_quota_megabytes),
        )

    def to_json(self) -> dict[str, Any]:
        """Give the settings as the API shows them."""
        return {
            "disconnectPeriodDays": self.disconnect_period_days,
            "alertHours": self.alert_hours,
            "eventQuotaMegabytes": self.event_quota_megabytes,
        }


def read_defender_settings(database: Database[dict[str, Any]]) -> DefenderSettings:
    """Read the settings in force."""
    found = database[SETTINGS].find_one({"_id": DEFENDER})
    return DefenderSettings.from_document(found or {})


def write_defender_settings(
    database: Database[dict[str, Any]], new: DefenderSettings
) -> DefenderSettings:
    """Store *new* as a whole and give the settings it replaced."""
    old = database[SETTINGS].find_one_and_replace(
        {"_id": DEFENDER}, new.to_json(), upsert=True
    )
    return DefenderSettings.from_document(old or {})
