"""Changes of Defenders and of the Console's names, shared by pages and API."""

from dataclasses import dataclass

from pydantic import ConfigDict, Field

from twistlock_console.audit.trail import AuditType
from twistlock_console.certificate_renewal.names import (
    checked_names,
    read_names,
    write_names,
)
from twistlock_console.common.errors import NotFound, Refused
from twistlock_console.common.models import Body
from twistlock_console.defenders import enrolled, event_store, register
from twistlock_console.defenders.control import (
    DefenderSettings,
    enqueue_command,
    write_defender_settings,
)
from twistlock_console.pki.certificates import node_names
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    NODE,
    load_certificate,
    names_in,
)
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.common.database import current_settings, database
from twistlock_console.web.openapi.models import ApiResponse
from twistlock_console.web.security.sessions import current_username


class DefenderSettingsBody(Body):
    """Settings of Defenders; a field that is left out gets its default."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    disconnect_period_days: int = Field(1, ge=1, le=365)
    alert_hours: int = Field(6, ge=1, le=8760)
    event_quota_megabytes: int = Field(256, ge=1, le=1_000_000)


def decommission(name: str) -> None:
    """Revoke all certificates of a Defender, and delete it from the register."""
    store = database()
    with audited(AuditType.DEFENDER, f"decommissioned the Defender {name}"):
        if enrolled.decommission(store, name) is None:
            raise Refused(f"there is no Defender {name}")
        listed = register.name_query(name)
        for entry in list(store[register.COLLECTION].find(listed, {})):
            enqueue_command(store, entry["_id"], "leave")
            store[event_store.COMPLIANCE].delete_one({"_id": entry["_id"]})
        store[register.COLLECTION].delete_many(listed)


def allow_enrolment(name: str) -> None:
    """Allow another host to enrol under an existing name, once, within a day."""
    action = f"allowed the name {name} to be enrolled again"
    with audited(AuditType.DEFENDER, action):
        if not enrolled.allow(database(), name, current_username()):
            raise NotFound(
                f"no Defender {name} was ever enrolled; a new name needs no permission"
            )


def disallow_enrolment(name: str) -> None:
    """Withdraw the permission to enrol under an existing name."""
    action = f"withdrew the permission to enrol the name {name} again"
    with audited(AuditType.DEFENDER, action):
        if not enrolled.disallow(database(), name):
            raise NotFound(f"the name {name} is not allowed to be enrolled again")


def scan(name: str) -> None:
    """Order a Defender to run its compliance checks now."""
    with audited(AuditType.DEFENDER, f"asked {name} to run its checks"):
        here = {"_id": name, "connected": True}
        if database()[register.COLLECTION].find_one(here, {}) is None:
            raise Refused(f"no Defender {name} is connected now")
        enqueue_command(database(), name, "scan")


def change_settings(body: DefenderSettingsBody) -> None:
    """Store the settings of Defenders and record the change."""
    new = DefenderSettings(
        body.disconnect_period_days, body.alert_hours, body.event_quota_megabytes
    )
    action = "changed the settings of Defenders"
    with audited(AuditType.SETTINGS, action) as change:
        old = write_defender_settings(database(), new)
        change.old, change.new = old.to_json(), new.to_json()


def defender_names() -> list[str]:
    """Return the names of all Defenders, connected or not."""
    found = database()[register.COLLECTION].find({}, {}).sort("_id")
    return [each["_id"] for each in found]


class NamesBody(Body):
    """All the names that are added to those in twistlock.cfg."""

    console_san: list[str] = Field(alias="consoleSAN", max_length=100)


class NamesResponse(ApiResponse):
    """The names that were added, and the end of the authority's certificate."""

    console_san: list[str] = Field(alias="consoleSAN")
    ca_expiration: str


@dataclass(frozen=True, slots=True)
class ConsoleName:
    """A name in the Console's certificates.

    *is_added*: an administrator added it, for all nodes. *is_in_certificate*: the
    certificate of the node that answers has it already.
    """

    name: str
    is_added: bool
    is_in_certificate: bool


def change_names(wanted: list[str]) -> None:
    """Store the added names and record the change.

    Raises:
        Refused: an entry is neither a DNS name nor an IP address.
    """
    with audited(AuditType.SETTINGS, "changed the Console's names") as change:
        new = checked_names(wanted)
        change.old = list(read_names(database()))
        write_names(database(), new)
        change.new = list(new)


def names_response() -> dict[str, object]:
    """Return the API's response about the names."""
    ends = load_certificate(current_settings().folders.certificates / AUTHORITY)
    return {
        "consoleSAN": list(read_names(database())),
        "caExpiration": ends.not_valid_after_utc.isoformat(timespec="seconds"),
    }


def list_console_names() -> list[ConsoleName]:
    """Return all names of the node that answers, its own first."""
    settings = current_settings()
    added = read_names(database())
    own = node_names(settings, settings.node_address)
    certificate = load_certificate(settings.folders.certificates / NODE)
    has = names_in(certificate)
    return [
        *(
            ConsoleName(name, is_added=False, is_in_certificate=name in has)
            for name in own
        ),
        *(
            ConsoleName(n, is_added=True, is_in_certificate=n in has)
            for n in added
            if n not in own
        ),
    ]
