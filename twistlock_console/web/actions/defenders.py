"""Changes of Defenders and their policy, the same from a page and from the API."""

from collections.abc import Sequence

from pydantic import Field

from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Refused
from twistlock_console.common.models import Body
from twistlock_console.defenders import event_store, register
from twistlock_console.defenders.certificate_renewal import revoke_all
from twistlock_console.defenders.command_queue import give_order
from twistlock_console.defenders.settings import (
    DefenderSettings,
    write_defender_settings,
)
from twistlock_console.policies.host import readable_rules, write_policy
from twistlock_console.policies.host_body import parse_policy
from twistlock_console.protocol import HostRule
from twistlock_console.web.actions.audit import recorded
from twistlock_console.web.common.database import database


class DefenderSettingsBody(Body):
    """What is left out goes back to its default."""

    disconnect_period_days: int = Field(1, ge=1, le=365)
    alert_hours: int = Field(6, ge=1, le=8760)


def decommission(name: str) -> None:
    """Take a Defender out of the register for good: its certificate ends with it."""
    store = database()
    with recorded(AuditType.DEFENDER, f"decommissioned the Defender {name}"):
        found = store[register.COLLECTION].find_one({"_id": name})
        if found is None:
            raise Refused(f"there is no Defender {name}")
        revoke_all(store, name, found)
        give_order(store, name, "leave")
        store[register.COLLECTION].delete_one({"_id": name})
        store[event_store.COMPLIANCE].delete_one({"_id": name})


def scan(name: str) -> None:
    """Have a Defender run its compliance checks now."""
    with recorded(AuditType.DEFENDER, f"asked {name} to run its checks"):
        here = {"_id": name, "connected": True}
        if database()[register.COLLECTION].find_one(here, {}) is None:
            raise Refused(f"no Defender {name} is connected now")
        give_order(database(), name, "scan")


def change_settings(body: DefenderSettingsBody) -> None:
    """Store the settings of Defenders and record who changed them."""
    new = DefenderSettings(body.disconnect_period_days, body.alert_hours)
    told = "changed the settings of Defenders"
    with recorded(AuditType.SETTINGS, told) as change:
        old = write_defender_settings(database(), new)
        change.old, change.new = old.to_json(), new.to_json()


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
