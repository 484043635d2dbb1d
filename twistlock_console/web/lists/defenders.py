"""The lists of Defenders, of what they found, and of how their hosts comply."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from twistlock_console import __version__
from twistlock_console.defenders import event_store, register
from twistlock_console.defenders.event_times import (
    clock_ahead_seconds,
    time_of_receipt,
    time_on_host,
)
from twistlock_console.web.lists.schema import Column, Document, Filter, Listable


def defender(stored: Document) -> Document:
    """Give a Defender as the API shows it, in the product's shape."""
    link, certificate = stored.get("link") or {}, stored.get("certificate") or {}
    expires = certificate.get("expires")
    return {
        "hostname": stored["_id"],
        "fqdn": stored.get("fqdn", ""),
        "version": stored.get("version", ""),
        "type": "serverLinux",
        "category": "host",
        "connected": bool(stored.get("connected")),
        "lastModified": stored.get("lastModified"),
        "compatibleVersion": stored.get("version") == __version__,
        "alerted": bool(stored.get("alerted")),
        "certificateExpiration": expires,
        "certificateExpired": bool(expires and expires < datetime.now(UTC)),
        "address": link.get("address", ""),
        "connectedSince": link.get("since"),
        "node": link.get("node", ""),
        "policy": stored.get("policy", ""),
        "os": stored.get("os", ""),
        "packages": stored.get("packages", 0),
        "droppedEvents": stored.get("droppedEvents", 0),
        "systemInfo": stored.get("systemInfo", {}),
    }


DEFENDERS = Listable(
    collection=register.COLLECTION,
    columns=(
        Column("hostname", "Host", "_id", sortable=True, filter=Filter.EXACT),
        Column("version", "Version", sortable=True, filter=Filter.EXACT),
        Column("connected", "Connected", filter=Filter.BOOLEAN),
        Column("lastModified", "Since", sortable=True),
        Column("os", "System"),
        Column("address", "Address", "link.address"),
        Column("node", stored="link.node"),
        Column("fqdn"),
        Column("certificateExpiration", stored="certificate.expires"),
        Column("policy"),
        Column("systemInfo"),
        Column("droppedEvents"),
    ),
    order="hostname",
    searched="host or system",
    shape=defender,
)


#: Lists go by the time of receipt, for the clock of a host may be anywhere.
_TIMES = (
    Column(
        "received",
        "Received",
        sortable=True,
        filter=Filter.TIME,
        shown_as=lambda _, document: time_of_receipt(document),
    ),
    Column("time", "Time on host", shown_as=lambda _, document: time_on_host(document)),
    Column(
        "clockAheadSeconds",
        shown_as=lambda _, document: clock_ahead_seconds(document),
    ),
)


def _event_list(*own: Column) -> Listable:
    """A list of events of some kind: all have the same filters and the same indexes."""
    effects = (("alert", "Alert"), ("prevent", "Prevent"))
    return Listable(
        collection=event_store.COLLECTION,
        columns=(
            *_TIMES,
            Column("hostname", "Host", "defender", filter=Filter.EXACT),
            Column("rule", "Rule", filter=Filter.EXACT),
            Column("effect", "Effect", filter=Filter.EXACT, choices=effects),
            *own,
            # Never on a page: which kind is listed is up to the page.
            Column("kind", filter=Filter.EXACT),
        ),
        order="received",
        newest_first=True,
        apart="kind",
        sort_aliases={"time": "received"},
    )


def _columns(**labels: str) -> tuple[Column, ...]:
    return tuple(Column(name, label) for name, label in labels.items())


HOST_AUDITS = _event_list(
    *_columns(name="Process", user="User", outcome="Outcome"),
    *_columns(path="", command="", pid=""),
)
FILE_AUDITS = _event_list(
    *_columns(path="Path", change="Change", process="By"),
    *_columns(hashBefore="", hashAfter="", mode="", owner=""),
)
TROUBLES = _event_list(*_columns(sentence="What", count="", first="", last=""))

COMPLIANCE = Listable(
    collection=event_store.COMPLIANCE,
    columns=(
        Column("hostname", "Host", "_id", sortable=True, filter=Filter.EXACT),
        Column("failed", "Failed", sortable=True),
        Column("severe", "High or critical", sortable=True),
        Column("checks", "Checks"),
        replace(_TIMES[0], filter=Filter.NONE),
        *_TIMES[1:],
        Column("rule", "Rule"),
        Column("results"),
    ),
    order="severe",
    newest_first=True,
    sort_aliases={"time": "received"},
)


def summary(counts: dict[bool, int]) -> list[dict[str, Any]]:
    """Give the Defenders by category, as the product counts them."""
    deployed = sum(counts.values())
    return [
        {"category": "host", "connected": counts.get(True, 0), "deployed": deployed}
    ]
