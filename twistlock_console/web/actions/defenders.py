"""Changes of Defenders and their policy, the same from a page and from the API."""

from collections.abc import Sequence

from pydantic import Field

from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import NotFound, Refused
from twistlock_console.common.models import Body
from twistlock_console.defenders import enrolled, event_store, register
from twistlock_console.defenders.control import (
    DefenderSettings,
    enqueue_command,
    write_defender_settings,
)
from twistlock_console.policies.host import readable_rules, write_policy
from twistlock_console.policies.host_body import parse_policy
from twistlock_console.protocol import HostRule
from twistlock_console.web.actions.audit import recorded
from twistlock_console.web.common.database import database
from twistlock_console.web.security.sessions import current_username


class DefenderSettingsBody(Body):
    """What is left out goes back to its default."""

    disconnect_period_days: int = Field(1, ge=1, le=365)
    alert_hours: int = Field(6, ge=1, le=8760)
    event_quota_megabytes: int = Field(256, ge=1, le=1_000_000)


def decommission(name: str) -> None:
    """Revoke all certificates of a Defender, and take it out of the register."""
    store = database()
    with recorded(AuditType.DEFENDER, f"decommissioned the Defender {name}"):
        if enrolled.decommission(store, name) is None:
            raise Refused(f"there is no Defender {name}")
        listed = register.named(name)
        for entry in list(store[register.COLLECTION].find(listed, {})):
            enqueue_command(store, entry["_id"], "leave")
            store[event_store.COMPLIANCE].delete_one({"_id": entry["_id"]})
        store[register.COLLECTION].delete_many(listed)


def allow_enrolment(name: str) -> None:
    """Let another host enrol under an existing name, once, within a day."""
    told = f"allowed the name {name} to be enrolled again"
    with recorded(AuditType.DEFENDER, told):
        if not enrolled.allow(database(), name, current_username()):
            raise NotFound(
                f"no Defender {name} was ever enrolled; a new name needs no permission"
            )


def disallow_enrolment(name: str) -> None:
    """Take the permission back before it is used."""
    told = f"no longer allows the name {name} to be enrolled again"
    with recorded(AuditType.DEFENDER, told):
        if not enrolled.disallow(database(), name):
            raise NotFound(f"the name {name} is not allowed to be enrolled again")


def scan(name: str) -> None:
    """Have a Defender run its compliance checks now."""
    with recorded(AuditType.DEFENDER, f"asked {name} to run its checks"):
        here = {"_id": name, "connected": True}
        if database()[register.COLLECTION].find_one(here, {}) is None:
            raise Refused(f"no Defender {name} is connected now")
        enqueue_command(database(), name, "scan")


def change_settings(body: DefenderSettingsBody) -> None:
    """Store the settings of Defenders and record who changed them."""
    new = DefenderSettings(
        body.disconnect_period_days, body.alert_hours, body.event_quota_megabytes
    )
    told = "changed the settings of Defenders"
    with recorded(AuditType.SETTINGS, told) as change:
        old = write_defender_settings(database(), new)
        change.old, change.new = old.to_json(), new.to_json()


def defender_names() -> list[str]:
    """Give the names of all Defenders, connected or not."""
    found = database()[register.COLLECTION].find({}, {}).sort("_id")
    return [each["_id"] for each in found]


def replace_rules(given: object, owner: str) -> None:
    """Put the rules of an API body in force, in place of all that are stored."""
    rules = parse_policy(given, readable_rules(database()))
    change_rules(rules, owner, "changed the runtime rules for hosts")


def change_rules(
    rules: Sequence[HostRule], owner: str, told: str, seen: int | None = None
) -> None:
    """Put rules for hosts in force and record who did it."""
    with recorded(AuditType.RULE, told) as change:
        old, new = write_policy(database(), rules, owner, seen)
        change.old, change.new = old.to_json(), new.to_json()
