"""Send queued alerts, per channel in order, with exponential backoff."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from twistlock_console.alerts import channels, store
from twistlock_console.alerts.channels import Alert
from twistlock_console.alerts.connection import NotDelivered
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.rules import AlertState, CoreAlertKind, Notice, Problem
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    SecretCipher,
)
from twistlock_console.alerts.targets import TargetPolicy
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import Refused
from twistlock_console.database.client import Db

BATCH_SIZE = 20
MIN_BACKOFF_S = 2
MAX_BACKOFF_S = 300
MAX_AGE = timedelta(hours=24)
log = logging.getLogger(__name__)


def backoff_s(failures: int) -> int:
    """Return the seconds until a channel is tried again after *failures* in a row."""
    return min(MIN_BACKOFF_S << min(failures - 1, 16), MAX_BACKOFF_S)


@dataclass(frozen=True, slots=True)
class ChannelResult:
    """The result of a test alert on one channel, as a sentence."""

    sentence: str
    has_failed: bool


class AlertDispatcher:
    """Delivers queued alerts; keeps the failures and the backoff of each channel.

    The thread of the alert monitor uses one, and a request of the web server another
    for a test alert. *policy* returns the policy for targets in force now.
    """

    def __init__(
        self, cipher: SecretCipher, sender: Sender, policy: Callable[[], TargetPolicy]
    ) -> None:
        self._cipher = cipher
        self._sender = sender
        self._policy = policy
        self._failures: dict[str, int] = {}
        self._retry_at_ns: dict[str, int] = {}

    def send(
        self,
        database: Db,
        alerts: AlertSettings,
        logs: LoggingSettings,
        stopped: threading.Event,
    ) -> None:
        """Send each channel's queued alerts until one fails or *stopped* is set."""
        for channel in ("webhook", "syslog"):
            if boottime_ns() < self._retry_at_ns.get(channel, 0):
                continue
            for each in store.read_queue(database, channel, BATCH_SIZE):
                if stopped.is_set() or not self._attempt(
                    database, channel, each, alerts, logs
                ):
                    break

    def _attempt(
        self,
        database: Db,
        channel: str,
        each: store.QueuedAlert,
        alerts: AlertSettings,
        logs: LoggingSettings,
    ) -> bool:
        try:
            self.deliver(channel, each.notice, each.created, alerts, logs)
        except Refused as error:
            failures = self._failures[channel] = self._failures.get(channel, 0) + 1
            pause = backoff_s(failures)
            self._retry_at_ns[channel] = boottime_ns() + pause * SECOND
            reason = _with_detail(error)
            log.warning(
                "an alert was not delivered and is retried in %d s: %s", pause, reason
            )
            if datetime.now(UTC) - each.created < MAX_AGE:
                return False
            log.warning(
                "the alert %s was not delivered within a day and is dropped", each.id
            )
        else:
            self._failures.pop(channel, None)
        store.remove_from_queue(database, each.id)
        return True

    def deliver(
        self,
        channel: str,
        notice: Notice,
        at: datetime,
        alerts: AlertSettings,
        logs: LoggingSettings,
    ) -> None:
        """Send *notice* once; do nothing if the channel is switched off.

        Raises:
            NotDelivered: the delivery failed.
            Refused: the secret of the webhook cannot be decrypted.

        """
        hook, alert = alerts.webhook, Alert(notice, at, self._sender)
        if channel == "webhook" and hook.enabled:
            secret = self._cipher.decrypt(hook.secret.encrypted)
            channels.post_to_webhook(hook.url, secret, alert, self._policy())
        if channel == "syslog" and logs.syslog.enabled:
            channels.send_to_syslog(logs.syslog, alert, self._policy())

    def test(self, alerts: AlertSettings, logs: LoggingSettings) -> list[ChannelResult]:
        """Send a test alert on every channel that is on. Raises Refused if none is."""
        now = datetime.now(UTC)
        problem = Problem(
            CoreAlertKind.TEST, "test", "this is a test, and nothing is wrong"
        )
        notice = Notice(problem, int(now.timestamp()), AlertState.HAPPENED)
        used = {"webhook": alerts.webhook.enabled, "syslog": logs.syslog.enabled}
        if not any(used.values()):
            raise Refused("switch a webhook or syslog on first, and save")
        results = []
        for channel in (name for name, on in used.items() if on):
            try:
                self.deliver(channel, notice, now, alerts, logs)
            except Refused as error:
                log.warning("a test alert failed: %s", _with_detail(error))
                results.append(ChannelResult(str(error), has_failed=True))
            else:
                sentence = channels.success_sentence(
                    channel, alerts.webhook.url, logs.syslog
                )
                results.append(ChannelResult(sentence, has_failed=False))
        return results


def _with_detail(error: Refused) -> str:
    detail = error.detail if isinstance(error, NotDelivered) else ""
    return f"{error} ({detail})" if detail else str(error)
