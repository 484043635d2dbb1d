"""Changes of the Console's names, and what the page and the API show of them."""

from dataclasses import dataclass
from typing import Any, cast

from flask import current_app
from pydantic import Field

from twistlock_console.audit.trail import AuditType
from twistlock_console.certificate_renewal.names import (
    checked_names,
    read_names,
    write_names,
)
from twistlock_console.common.models import Body
from twistlock_console.pki.certificates import node_names
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    NODE,
    load_certificate,
    names_in,
)
from twistlock_console.settings import Settings
from twistlock_console.web.actions.audit import recorded
from twistlock_console.web.common.database import database
from twistlock_console.web.openapi.models import Answer


class NamesBody(Body):
    """All the names that are not in twistlock.cfg."""

    console_san: list[str] = Field(alias="consoleSAN", max_length=100)


class NamesAnswer(Answer):
    """The names that were added, and when the authority's certificate ends."""

    console_san: list[str] = Field(alias="consoleSAN")
    ca_expiration: str


@dataclass(frozen=True, slots=True)
class ShownName:
    """A name: whether it was *added* here, and is in this node's certificate *now*."""

    name: str
    added: bool
    now: bool


def change_names(wanted: list[str]) -> None:
    """Store the names and record the change; raises Refused if one is none."""
    with recorded(AuditType.SETTINGS, "changed the Console's names") as change:
        new = checked_names(wanted)
        change.old = list(read_names(database()))
        write_names(database(), new)
        change.new = list(new)


def as_json() -> dict[str, Any]:
    """Give what the API shows."""
    ends = load_certificate(_settings().folders.certificates / AUTHORITY)
    return {
        "consoleSAN": list(read_names(database())),
        "caExpiration": ends.not_valid_after_utc.isoformat(timespec="seconds"),
    }


def shown_names() -> list[ShownName]:
    """Give all the names of the node that answers, its own first."""
    settings = _settings()
    added = read_names(database())
    own = node_names(settings, settings.node_address)
    certificate = load_certificate(settings.folders.certificates / NODE)
    has = names_in(certificate)
    return [
        *(ShownName(name, added=False, now=name in has) for name in own),
        *(ShownName(n, added=True, now=n in has) for n in added if n not in own),
    ]


def _settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])
