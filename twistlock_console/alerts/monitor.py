"""Poll for problems on the serving node, queue alerts and send them.

This runs on a thread of its own, so that a webhook that hangs delays nothing else.
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
from twistlock_console.alerts.connection import current_policy
from twistlock_console.alerts.dispatcher import AlertDispatcher
from twistlock_console.alerts.kinds import DEFENDERS_LOST, FAILOVER, alert_kinds
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.rules import (
    CoreAlertKind,
    Problem,
    lost_defender_problems,
)
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    SecretCipher,
    read_settings,
)
from twistlock_console.alerts.store import read_records
from twistlock_console.backups.jobs.service import last_results
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.client import Client, Db, connect, credentials_for
from twistlock_console.events.types import Role, RoleChanged
from twistlock_console.settings import Settings

POLL_INTERVAL_S = 2.0
log = logging.getLogger(__name__)
FindProblems = Callable[[Db, AlertSettings], Iterable[Problem]]


@dataclass(frozen=True, slots=True)
class ProblemSource:
    """Finds problems of some *kinds*; raises when they cannot be checked now."""

    kinds: frozenset[str]
    find: FindProblems


class AlertMonitor:
    """Runs a thread that polls for problems while this node serves.

    *sources* are those of the core and of the plugins.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.sources: list[ProblemSource] = []
        self._stopped = threading.Event()
        self._stopped.set()
        self._failover: RoleChanged | None = None

    def on_role_changed(self, change: RoleChanged) -> None:
        """Start the thread if this node became the primary, else stop it."""
        self.stop()
        if change.new is not Role.PRIMARY:
            return
        self._failover = change
        self._stopped = threading.Event()
        threading.Thread(
            target=self._run, args=(self._stopped, change), name="alerts", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop the thread. Idempotent; does not wait for its end."""
        self._stopped.set()

    def _run(self, stopped: threading.Event, failover: RoleChanged) -> None:
        cipher = SecretCipher(
            read_secret(self._settings.folders.secrets / "session.key")
        )
        sender = Sender(
            self._settings.node_address, self._settings.console_cn, os.getpid()
        )
        credentials = credentials_for(self._settings, "console")
        with connect(self._settings, credentials, app_name="alerts") as client:
            policy = partial(current_policy, self._settings, client["twistlock"])
            outbox = AlertDispatcher(cipher, sender, policy)
            poll = _AlertPoll(client, self.sources, outbox, failover)
            while not stopped.wait(POLL_INTERVAL_S):
                try:
                    poll.run(stopped)
                except (PyMongoError, ConsoleError) as error:
                    log.info("alerts are delayed until the next poll: %s", error)
                except Exception:
                    log.exception(
                        "the poll for alerts failed; the next one tries again"
                    )


class _AlertPoll:
    """Polls for problems; remembers between polls since when each is present."""

    def __init__(
        self,
        client: Client,
        sources: list[ProblemSource],
        outbox: AlertDispatcher,
        failover: RoleChanged,
    ) -> None:
        self._database: Db = client["twistlock"]
        self._sources = sources
        self._outbox = outbox
        self._failover = failover
        self._since: dict[str, int] = {}

    def run(self, stopped: threading.Event) -> None:
        """Find problems, queue the alerts that are due, and send queued ones."""
        settings = read_settings(self._database, AlertSettings)
        logging_ = read_settings(self._database, LoggingSettings)
        channels = [
            name
            for name, used in (
                ("webhook", settings.webhook.enabled),
                ("syslog", logging_.syslog.enabled),
            )
            if used
        ]
        notices = [*self._failover_notices(settings), *self._problem_notices(settings)]
        if notices and not stopped.is_set():
            for notice in notices:
                log.warning("%s: %s", notice.state, notice.problem.sentence)
            store.enqueue(self._database, notices, channels)
        self._outbox.send(self._database, settings, logging_, stopped)

    def _failover_notices(self, settings: AlertSettings) -> Iterable[rules.Notice]:
        epoch = self._failover.epoch
        last = store.last_alerted_epoch(self._database)
        notice = rules.failover_notice(last, epoch, _failover_sentence(self._failover))
        if notice and settings.is_enabled(FAILOVER):
            yield notice
        elif last is None or epoch > last:
            store.record_alerted_epoch(self._database, epoch)

    def _problem_notices(self, settings: AlertSettings) -> Iterable[rules.Notice]:
        wanted = enabled_kinds(settings)
        problems, known = self._find_problems(settings, wanted)
        records = store.read_records(self._database)
        self._since, lasting = rules.filter_by_duration(
            problems, self._since, boottime_ns(), min_durations_ns(settings), records
        )
        yield from rules.due_notices(lasting, records, known & wanted)

    def _find_problems(
        self, settings: AlertSettings, wanted: frozenset[str]
    ) -> tuple[list[Problem], frozenset[str]]:
        problems: list[Problem] = []
        unseen: frozenset[str] = frozenset()
        for source in self._sources:
            try:
                found = list(source.find(self._database, settings))
            except (PyMongoError, ConsoleError) as error:
                log.debug("cannot check %s: %s", sorted(source.kinds), error)
                unseen |= source.kinds
            else:
                problems += [each for each in found if each.kind in wanted]
        return problems, _all_names() - unseen


def enabled_kinds(settings: AlertSettings) -> frozenset[str]:
    """Return the names of the kinds that *settings* switch on."""
    return frozenset(k.name for k in alert_kinds() if settings.is_enabled(k))


def min_durations_ns(settings: AlertSettings) -> dict[str, int]:
    """Return the nanoseconds that a problem must last to be reported, by kind."""
    return {
        kind.name: settings.threshold(kind) * SECOND
        for kind in alert_kinds()
        if kind.is_duration
    }


def _all_names() -> frozenset[str]:
    return frozenset(kind.name for kind in alert_kinds())


def _failover_sentence(change: RoleChanged) -> str:
    phases = ", ".join(f"{name} {took:.3f} s" for name, took in change.phases.items())
    took = f" (after the start of it: {phases})" if phases else ""
    return f"this node serves now, as epoch {change.epoch}: {change.reason}{took}"


def core_sources(address: str, failing: Mapping[str, str]) -> list[ProblemSource]:
    """Return the problem sources of the core for the node at *address*.

    *failing* maps the health checks of this node that fail to their reasons.
    """

    def certificate(database: Db, settings: AlertSettings) -> Iterable[Problem]:
        del database, settings
        return certificate_problems(address, failing)

    return [
        ProblemSource(frozenset({CoreAlertKind.CERTIFICATE_END}), certificate),
        ProblemSource(frozenset({CoreAlertKind.BACKUP_FAILED}), backup_problems),
        ProblemSource(frozenset({CoreAlertKind.DEFENDERS_LOST}), defender_problems),
    ]


def certificate_problems(address: str, failing: Mapping[str, str]) -> Iterable[Problem]:
    """Yield the failed health check of the node's certificate as a problem."""
    if reason := failing.get("certificate"):
        yield Problem(CoreAlertKind.CERTIFICATE_END, address, f"on {address}, {reason}")


def backup_problems(database: Db, settings: AlertSettings) -> Iterable[Problem]:
    """Yield the kinds of backup jobs whose latest run failed."""
    del settings
    for kind, result in last_results(database).items():
        if error := result.error:
            sentence = f"the latest work on backups ({kind}) failed: {error}"
            yield Problem(CoreAlertKind.BACKUP_FAILED, kind, sentence)


def defender_problems(database: Db, settings: AlertSettings) -> Iterable[Problem]:
    """Return the Defenders that are offline for longer than the settings allow."""
    before = datetime.now(UTC) - timedelta(minutes=settings.threshold(DEFENDERS_LOST))
    away = {"connected": False, "lastModified": {"$lt": before}}
    lost = {
        str(each["_id"]) for each in database["defenders"].find(away, {"_id": True})
    }
    records = read_records(database).values()
    singly = {
        t.problem.subject
        for t in records
        if t.problem.kind is CoreAlertKind.DEFENDERS_LOST
    }
    return lost_defender_problems(lost, singly)
