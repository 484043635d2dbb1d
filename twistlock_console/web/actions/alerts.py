"""Changes of the settings of alerts and logging, and test alerts."""

import os
from functools import partial
from urllib.parse import urlsplit

from twistlock_console.alerts.channels import DEFAULT_PORTS, SYSLOG_PORT
from twistlock_console.alerts.connection import current_policy
from twistlock_console.alerts.dispatcher import AlertDispatcher, ChannelResult
from twistlock_console.alerts.messages import Sender
from twistlock_console.alerts.settings import (
    AlertSettings,
    LoggingSettings,
    SecretCipher,
    Webhook,
    read_settings,
    write_settings,
)
from twistlock_console.audit.trail import AuditType
from twistlock_console.common.atomic_files import read_secret
from twistlock_console.common.errors import Refused
from twistlock_console.common.redaction import HIDDEN, is_redacted, redact_url
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.common.database import current_settings, database


class TestFailed(Refused):
    """A test alert failed on a channel; *results* has the outcome of each."""

    __test__ = False

    def __init__(self, results: list[ChannelResult]) -> None:
        super().__init__("; ".join(each.sentence for each in results))
        self.results = results


def read_alerts(*, may_change: bool) -> AlertSettings:
    """Return the settings for display: only the host of the webhook's address.

    The encrypted secret is included only with *may_change*: that user may send it back.
    """
    return _redacted(read_settings(database(), AlertSettings), may_change=may_change)


def settings_response(settings: AlertSettings) -> dict[str, object]:
    """Return the API's response about the settings."""
    hidden = {"webhook": {"secret": {"plain"}}}
    return settings.model_dump(by_alias=True, exclude=hidden)


def change_alerts(wanted: AlertSettings) -> None:
    """Store the settings of alerts with an encrypted secret; record the change."""
    with audited(AuditType.SETTINGS, "changed the settings of alerts") as change:
        old = read_settings(database(), AlertSettings)
        new = _cipher().encrypt_secret(_restore_hidden_secrets(wanted, old))
        if new.webhook.enabled:
            _check_target(new.webhook.url)
        change.old = settings_response(old)
        write_settings(database(), new)
        change.new = settings_response(new)


def change_logging(new: LoggingSettings) -> None:
    """Store the settings of syslog and metrics, and record the change."""
    with audited(AuditType.SETTINGS, "changed the logging settings") as change:
        if new.syslog.enabled:
            _check_target(new.syslog.addr)
        change.old = read_settings(database(), LoggingSettings).model_dump(
            by_alias=True
        )
        write_settings(database(), new)
        change.new = new.model_dump(by_alias=True)


def send_test() -> list[ChannelResult]:
    """Send a test alert to every channel and return the results.

    Raises:
        TestFailed: a channel failed.
    """
    settings = current_settings()
    sender = Sender(settings.node_address, settings.console_cn, os.getpid())
    policy = partial(current_policy, settings, database())
    with audited(AuditType.SETTINGS, "sent a test alert"):
        results = AlertDispatcher(_cipher(), sender, policy).test(
            read_settings(database(), AlertSettings),
            read_settings(database(), LoggingSettings),
        )
        if any(each.has_failed for each in results):
            raise TestFailed(results)
        return results


def _redacted(settings: AlertSettings, *, may_change: bool) -> AlertSettings:
    hook = settings.webhook
    update: dict[str, object] = {"url": redact_url(hook.url)}
    if hook.secret.encrypted and not may_change:
        update["secret"] = hook.secret.model_copy(update={"encrypted": HIDDEN})
    return settings.model_copy(update={"webhook": hook.model_copy(update=update)})


def _restore_hidden_secrets(wanted: AlertSettings, old: AlertSettings) -> AlertSettings:
    """Replace what was sent back hidden by what is stored."""
    hook, kept = wanted.webhook, old.webhook
    update: dict[str, object] = {}
    if is_redacted(hook.url):
        if hook.url != redact_url(kept.url):
            raise Refused(
                "webhook.url: write the full address; its hidden part is kept only "
                "while the rest is unchanged"
            )
        update["url"] = kept.url
    if hook.secret.encrypted == HIDDEN:
        if not kept.secret.encrypted:
            raise Refused("webhook.secret: give one; none is stored")
        update["secret"] = hook.secret.model_copy(
            update={"encrypted": kept.secret.encrypted}
        )
    changed: Webhook = hook.model_copy(update=update)
    return wanted.model_copy(update={"webhook": changed})


def _check_target(url: str) -> None:
    """Raise Refused if alerts may not be sent to the address in *url*."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, SYSLOG_PORT)
    policy = current_policy(current_settings(), database())
    if why := policy.literal_refusal_reason(parts.hostname, port):
        raise Refused(why)


def _cipher() -> SecretCipher:
    return SecretCipher(read_secret(current_settings().folders.secrets / "session.key"))
