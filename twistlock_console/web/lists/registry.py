"""The lists of pages and API, and the indexes of all collections."""

from dataclasses import replace
from datetime import UTC, datetime

from pymongo import ASCENDING, IndexModel

from twistlock_console import __version__
from twistlock_console.accounts import login, users
from twistlock_console.accounts.rights import UserRole
from twistlock_console.alerts.store import QUEUE
from twistlock_console.audit import trail
from twistlock_console.common.redaction import redact_text
from twistlock_console.database.client import Db, Document
from twistlock_console.defenders import (
    deployment,
    enrolled,
    enrolment,
    event_quota,
    event_store,
    register,
)
from twistlock_console.defenders.event_times import (
    clock_ahead_seconds,
    time_of_receipt,
    time_on_host,
)
from twistlock_console.revocation import store
from twistlock_console.web.lists.query import indexes_of
from twistlock_console.web.lists.schema import Column, Filter, Listable

USERS = Listable(
    collection=users.COLLECTION,
    columns=(
        Column("username", "Username", stored="_id", sortable=True),
        Column(
            "role",
            "Role",
            sortable=True,
            filter=Filter.EXACT,
            choices=tuple((role.value, role.label) for role in UserRole),
        ),
        Column("authType", "Authentication"),
        Column("lastModified", "Last modified", sortable=True),
    ),
    order="username",
    searched="username",
)


def _redacted(text: object, _: object) -> object:
    return redact_text(text) if isinstance(text, str) else text


HISTORY = Listable(
    collection=trail.COLLECTION,
    columns=(
        Column("time", "Time", sortable=True, filter=Filter.TIME),
        Column(
            "type",
            "Type",
            filter=Filter.EXACT,
            choices=tuple((str(kind), str(kind)) for kind in trail.audit_kinds()),
        ),
        Column("username", "User", sortable=True, filter=Filter.EXACT),
        Column("sourceIP", "Source", filter=Filter.EXACT),
        Column("api"),
        # Entries of an earlier release may hold secrets.
        Column("status", "What was done", convert=_redacted),
        Column("failure", "Failed", filter=Filter.BOOLEAN, filter_only=True),
        Column("diff", convert=_redacted),
    ),
    order="time",
    newest_first=True,
    searched="user, address or what was done",
)


def _defender(stored: Document) -> Document:
    """Return the API's object of a stored Defender."""
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
    shape=_defender,
)


#: Lists are sorted by the time of receipt: the clock of a host may be wrong.
_TIMES = (
    Column(
        "received",
        "Received",
        sortable=True,
        filter=Filter.TIME,
        convert=lambda _, document: time_of_receipt(document),
    ),
    Column("time", "Time on host", convert=lambda _, document: time_on_host(document)),
    Column(
        "clockAheadSeconds",
        convert=lambda _, document: clock_ahead_seconds(document),
    ),
)


def _event_list(*own: Column) -> Listable:
    """Return a list of events; all kinds share their filters and indexes."""
    effects = (("alert", "Alert"), ("prevent", "Prevent"))
    return Listable(
        collection=event_store.COLLECTION,
        columns=(
            *_TIMES,
            Column("hostname", "Host", "defender", filter=Filter.EXACT),
            Column("rule", "Rule", filter=Filter.EXACT),
            Column("effect", "Effect", filter=Filter.EXACT, choices=effects),
            *own,
            # Not on a page: each page lists one kind.
            Column("kind", filter=Filter.EXACT),
        ),
        order="received",
        newest_first=True,
        partition_column="kind",
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


#: Lists whose indexes are created. All lists of events share those of HOST_AUDITS.
LISTS = (USERS, HISTORY, DEFENDERS, HOST_AUDITS, COMPLIANCE)


#: Indexes by collection, besides those of the lists. An index with `expireAfterSeconds`
#: deletes expired documents.
INDEXES: dict[str, list[IndexModel]] = {
    login.FAILURES: [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)],
    login.KNOWN_ORIGINS: [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)],
    store.COLLECTION: store.INDEXES,
    users.COLLECTION: users.INDEXES,
    QUEUE: [IndexModel([("channel", ASCENDING), ("created", ASCENDING)])],
    event_store.COLLECTION: event_store.INDEXES,
    event_quota.COLLECTION: event_quota.INDEXES,
    register.COLLECTION: register.INDEXES,
    enrolled.COLLECTION: enrolled.INDEXES,
    enrolled.SUCCESSORS: enrolment.INDEXES,
    deployment.COLLECTION: deployment.INDEXES,
}


def ensure_indexes(database: Db) -> None:
    """Create missing indexes and drop obsolete ones; the new primary calls this."""
    for collection, indexes in INDEXES.items():
        database[collection].create_indexes(indexes)
    for listable in LISTS:
        if indexes := indexes_of(listable):
            database[listable.collection].create_indexes(indexes)
    event_store.drop_obsolete_indexes(database)


def defender_summary(counts: dict[bool, int]) -> list[dict[str, object]]:
    """Return the number of Defenders, connected and deployed, by category."""
    deployed = sum(counts.values())
    return [
        {"category": "host", "connected": counts.get(True, 0), "deployed": deployed}
    ]
