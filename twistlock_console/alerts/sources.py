"""The problems that the Console itself can see, whether it is alone or in a cluster."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from twistlock_console.alerts.kinds import DEFENDERS_LOST
from twistlock_console.alerts.rules import Kind, Problem, lost_defenders
from twistlock_console.alerts.settings import AlertSettings
from twistlock_console.alerts.store import read_told
from twistlock_console.alerts.watch import Source
from twistlock_console.backups.jobs.service import last_results
from twistlock_console.database.client import Db


def core_sources(address: str, failing: Mapping[str, str]) -> list[Source]:
    """Return the sources of the node at *address*, whose checks in *failing* fail."""

    def certificate(database: Db, settings: AlertSettings) -> Iterable[Problem]:
        del database, settings
        return certificate_problems(address, failing)

    return [
        Source(frozenset({Kind.CERTIFICATE_END}), certificate),
        Source(frozenset({Kind.BACKUP_FAILED}), backups),
        Source(frozenset({Kind.DEFENDERS_LOST}), defenders),
    ]


def certificate_problems(address: str, failing: Mapping[str, str]) -> Iterable[Problem]:
    """What a node's health checks say of its certificate."""
    if reason := failing.get("certificate"):
        yield Problem(Kind.CERTIFICATE_END, address, f"on {address}, {reason}")


def backups(database: Db, settings: AlertSettings) -> Iterable[Problem]:
    """What failed the last time; a run that repeats it changes nothing yet."""
    del settings
    for kind, result in last_results(database).items():
        if error := result.error:
            sentence = f"the latest work on backups ({kind}) failed: {error}"
            yield Problem(Kind.BACKUP_FAILED, kind, sentence)


def defenders(database: Db, settings: AlertSettings) -> Iterable[Problem]:
    """Defenders that have been away for longer than the settings allow."""
    before = datetime.now(UTC) - timedelta(minutes=settings.threshold(DEFENDERS_LOST))
    away = {"connected": False, "lastModified": {"$lt": before}}
    lost = {
        str(each["_id"]) for each in database["defenders"].find(away, {"_id": True})
    }
    told = read_told(database).values()
    singly = {t.problem.subject for t in told if t.problem.kind is Kind.DEFENDERS_LOST}
    return lost_defenders(lost, singly)
