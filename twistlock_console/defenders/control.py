"""Store settings and commands of administrators for the Defenders' server.

The server polls it together with the policy's version and the revocations, twice a
second for as long as it serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter
from pymongo.database import Database

from twistlock_console.policies import host
from twistlock_console.protocol.bounds import WIRE
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind

SETTINGS = "settings"
DEFENDER = "defender"
COMMANDS = "defender_orders"
MAX_COMMANDS = 1000
Command = Literal["scan", "leave"]
Documents = Database[dict[str, object]]


@dataclass(frozen=True, slots=True)
class DefenderSettings:
    """The settings for Defenders.

    A Defender that is offline for *alert_hours* causes an alert, and is removed after
    *disconnect_period_days*. *event_quota_megabytes* is its quota of events in a day.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    disconnect_period_days: int = 1
    alert_hours: int = 6
    event_quota_megabytes: int = 256

    def to_json(self) -> dict[str, int]:
        """Return the settings as the API shows them, and as they are stored."""
        return {
            "disconnectPeriodDays": self.disconnect_period_days,
            "alertHours": self.alert_hours,
            "eventQuotaMegabytes": self.event_quota_megabytes,
        }


@dataclass(frozen=True, slots=True)
class ControlData:
    """The result of one poll of the control data.

    *revoked* has the serial numbers (hex) of revoked certificates, *commands* has pairs
    of Defender and command, *event_quota_megabytes* is the daily quota of a Defender.
    """

    policy_version: int
    revoked: frozenset[str]
    commands: tuple[tuple[str, str], ...]
    event_quota_megabytes: int


_settings: TypeAdapter[DefenderSettings] = TypeAdapter(DefenderSettings)
_version: TypeAdapter[int] = TypeAdapter(int)


def read_defender_settings(database: Documents) -> DefenderSettings:
    """Return the settings in force, with defaults for those never stored."""
    found = database[SETTINGS].find_one({"_id": DEFENDER})
    return _settings.validate_python(found or {})


def write_defender_settings(
    database: Documents, new: DefenderSettings
) -> DefenderSettings:
    """Replace the stored settings by *new*; return the previous ones."""
    old = database[SETTINGS].find_one_and_replace(
        {"_id": DEFENDER}, {**new.to_json()}, upsert=True
    )
    return _settings.validate_python(old or {})


def enqueue_command(database: Documents, defender: str, command: Command) -> None:
    """Queue a command: *scan* runs the checks, *leave* closes the connection."""
    database[COMMANDS].insert_one({"defender": defender, "order": command})


def poll_control_data(database: Documents) -> ControlData:
    """Read all control data in one query, and delete the returned commands."""
    found = list(database[host.COLLECTION].aggregate(_QUERY))
    settings = next((d for d in found if d["_id"] == DEFENDER), {})
    taken = [each for each in found if "order" in each]
    if taken:
        ids = [each["_id"] for each in taken]
        database[COMMANDS].delete_many({"_id": {"$in": ids}})
    version = next((d["version"] for d in found if "version" in d), 0)
    return ControlData(
        policy_version=_version.validate_python(version),
        revoked=frozenset(str(d["serial"]) for d in found if "serial" in d),
        commands=tuple((str(d["defender"]), str(d["order"])) for d in taken),
        event_quota_megabytes=_settings.validate_python(settings).event_quota_megabytes,
    )


def _union_with(collection: str, *stages: Mapping[str, object]) -> Mapping[str, object]:
    return {"$unionWith": {"coll": collection, "pipeline": list(stages)}}


_QUERY: list[Mapping[str, object]] = [
    {"$match": {"_id": host.HOST_RUNTIME}},
    {"$project": {"version": 1}},
    _union_with(
        store.COLLECTION,
        {"$match": store.revocations_query(RevocationKind.CERTIFICATE)},
        {"$project": {"serial": "$name"}},
    ),
    _union_with(SETTINGS, {"$match": {"_id": DEFENDER}}),
    _union_with(COMMANDS, {"$sort": {"_id": 1}}, {"$limit": MAX_COMMANDS}),
]
