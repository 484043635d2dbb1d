"""The watch of the serving node: looks for problems, tells of them, sends.

It runs on a thread of its own, so that a webhook that hangs keeps nobody waiting.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from pymongo.errors import PyMongoError

from twistlock_console.alerts import rules, store
from twistlock_console.alerts.connecting import current_policy
from twistlock_console.alerts.kinds import DEFENDERS_LOST, FAILOVER, alert_kinds
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.outbox import Outbox
from twistlock_console.alerts.rules import Kind, Problem, lost_defenders
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    SecretCipher,
    read,
)
from twistlock_console.alerts.store import read_records
from twistlock_console.backups.jobs.service import last_results
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import Client, Db, connect, credentials_for
from twistlock_console.events.types import Role, RoleChanged
from twistlock_console.settings import Settings

LOOK_SECONDS = 2.0
log = logging.getLogger(__name__)
Look = Callable[[Db, AlertSettings], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class ProblemSource:
    """Looks for problems of some *kinds*; raises when it cannot see now."""

    kinds: frozenset[str]
    look: Look


class AlertMonitor:
    """Begins when this node serves and ends when it does not.

    *sources* are those of the core and of the plugins.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.sources: list[ProblemSource] = []
        self._ended = threading.Event()
        self._ended.set()
        self._takeover: RoleChanged | None = None

    def follow(self, change: RoleChanged) -> None:
        """Watch while this node is the primary."""
        self.stop()
        if change.new is not Role.PRIMARY:
            return
        self._takeover = change
        self._ended = threading.Event()
        threading.Thread(
            target=self._run, args=(self._ended, change), name="alerts", daemon=True
        ).start()

    def stop(self) -> None:
        """Look and send no more."""
        self._ended.set()

    def _run(self, ended: threading.Event, takeover: RoleChanged) -> None:
        seal = SecretCipher(read_secret(self._settings.folders.secrets / "session.key"))
        sender = Sender(
            self._settings.node_address, self._settings.console_cn, os.getpid()
        )
        credentials = credentials_for(self._settings, "console")
        with connect(self._settings, credentials, app_name="alerts") as client:
            policy = partial(current_policy, self._settings, client["twistlock"])
            outbox = Outbox(seal, sender, policy)
            round_ = _Round(client, self.sources, outbox, takeover)
            while not ended.wait(LOOK_SECONDS):
                try:
                    round_.go(ended)
                except (PyMongoError, ConsoleError) as error:
                    log.info("alerts wait for a moment: %s", error)
                except Exception:
                    log.exception("alerts failed; they will be tried again")


class _Round:
    """One look, with what the earlier ones saw."""

    def __init__(
        self,
        client: Client,
        sources: list[ProblemSource],
        outbox: Outbox,
        takeover: RoleChanged,
    ) -> None:
        self._database: Db = client["twistlock"]
        self._sources = sources
        self._outbox = outbox
        self._takeover = takeover
        self._since: dict[str, int] = {}

    def go(self, ended: threading.Event) -> None:
        """Look, note what is due, and send what waits."""
        settings = read(self._database, AlertSettings)
        logging_ = read(self._database, LoggingSettings)
        channels = [
            name
            for name, used in (
                ("webhook", settings.webhook.enabled),
                ("syslog", logging_.syslog.enabled),
            )
            if used
        ]
        notices = [*self._failovers(settings), *self._problems(settings)]
        if notices and not ended.is_set():
            for notice in notices:
                log.warning("%s: %s", notice.state, notice.problem.sentence)
            store.tell(self._database, notices, channels)
        self._outbox.send(self._database, settings, logging_, ended)

    def _failovers(self, settings: AlertSettings) -> Iterable[rules.Notice]:
        epoch = self._takeover.epoch
        last = store.last_alerted_epoch(self._database)
        notice = rules.failover(last, epoch, _sentence(self._takeover))
        if notice and settings.is_wanted(FAILOVER):
            yield notice
        elif last is None or epoch > last:
            store.note_epoch(self._database, epoch)

    def _problems(self, settings: AlertSettings) -> Iterable[rules.Notice]:
        wanted = kinds_wanted(settings)
        problems, known = self._look(settings, wanted)
        records = store.read_records(self._database)
        self._since, lasting = rules.lasting(
            problems, self._since, boottime_ns(), patience(settings), records
        )
        yield from rules.due(lasting, records, known & wanted)

    def _look(
        self, settings: AlertSettings, wanted: frozenset[str]
    ) -> tuple[list[Problem], frozenset[str]]:
        problems: list[Problem] = []
        unseen: frozenset[str] = frozenset()
        for source in self._sources:
            try:
                found = list(source.look(self._database, settings))
            except (PyMongoError, ConsoleError) as error:
                log.debug("cannot look for %s: %s", sorted(source.kinds), error)
                unseen |= source.kinds
            else:
                problems += [each for each in found if each.kind in wanted]
        return problems, _all_names() - unseen


def kinds_wanted(settings: AlertSettings) -> frozenset[str]:
    """Return the names of the kinds that are switched on."""
    return frozenset(k.name for k in alert_kinds() if settings.is_wanted(k))


def patience(settings: AlertSettings) -> dict[str, int]:
    """Return how long, in nanoseconds, each kind must last before it is reported."""
    return {
        kind.name: settings.threshold(kind) * SECOND
        for kind in alert_kinds()
        if kind.is_duration
    }


def _all_names() -> frozenset[str]:
    return frozenset(kind.name for kind in alert_kinds())


def _sentence(change: RoleChanged) -> str:
    phases = ", ".join(f"{name} {took:.3f} s" for name, took in change.phases.items())
    took = f" (after the start of it: {phases})" if phases else ""
    return f"this node serves now, as epoch {change.epoch}: {change.reason}{took}"


def core_sources(address: str, failing: Mapping[str, str]) -> list[ProblemSource]:
    """Return the sources of the node at *address*, whose checks in *failing* fail."""

    def certificate(database: Db, settings: AlertSettings) -> Iterable[Problem]:
        del database, settings
        return certificate_problems(address, failing)

    return [
        ProblemSource(frozenset({Kind.CERTIFICATE_END}), certificate),
        ProblemSource(frozenset({Kind.BACKUP_FAILED}), backup_problems),
        ProblemSource(frozenset({Kind.DEFENDERS_LOST}), defender_problems),
    ]


def certificate_problems(address: str, failing: Mapping[str, str]) -> Iterable[Problem]:
    """Yield what a node's health checks say of its certificate."""
    if reason := failing.get("certificate"):
        yield Problem(Kind.CERTIFICATE_END, address, f"on {address}, {reason}")


def backup_problems(database: Db, settings: AlertSettings) -> Iterable[Problem]:
    """Yield the jobs that failed the last time, until they succeed."""
    del settings
    for kind, result in last_results(database).items():
        if error := result.error:
            sentence = f"the latest work on backups ({kind}) failed: {error}"
            yield Problem(Kind.BACKUP_FAILED, kind, sentence)


def defender_problems(database: Db, settings: AlertSettings) -> Iterable[Problem]:
    """Return the Defenders that are away for longer than the settings allow."""
    before = datetime.now(UTC) - timedelta(minutes=settings.threshold(DEFENDERS_LOST))
    away = {"connected": False, "lastModified": {"$lt": before}}
    lost = {
        str(each["_id"]) for each in database["defenders"].find(away, {"_id": True})
    }
    records = read_records(database).values()
    singly = {
        t.problem.subject for t in records if t.problem.kind is Kind.DEFENDERS_LOST
    }
    return lost_defenders(lost, singly)
