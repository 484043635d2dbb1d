"""The Defender as a whole: enforces, keeps what it finds, and stays in touch."""

import asyncio
import json
import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime

from twistlock_console import __version__
from twistlock_console.protocol import (
    CertificateRenewed,
    DefenderHello,
    Event,
    PolicyPushed,
    RenewalRequested,
    Scan,
)
from twistlock_defender.agent.enforcement import Enforcement
from twistlock_defender.agent.host_facts import HostFacts
from twistlock_defender.common.clock import ClockWatch, boottime, utc_now
from twistlock_defender.common.errors import DefenderError, FolderError
from twistlock_defender.common.findings import body_of, dropped
from twistlock_defender.common.folder import DefenderSettings, Folder
from twistlock_defender.common.problems import Troubles
from twistlock_defender.identity import certificate
from twistlock_defender.link.client import Link
from twistlock_defender.link.epoch import HighestEpoch
from twistlock_defender.store.outbox import Outbox
from twistlock_defender.store.policy_store import StandingPolicy
from twistlock_defender.store.status import RunLock, Status, StatusFile

PULSE_SECONDS = 1.0
CERTIFICATE_SECONDS = 3600.0
JUMP_SHOWN_SECONDS = 3600.0
MEGABYTE = 1024 * 1024
log = logging.getLogger(__name__)


def run(folder: Folder) -> None:
    """Run the Defender of *folder* until SIGTERM or SIGINT. Raises DefenderError."""
    settings = folder.settings()
    with RunLock(folder / "lock") as lock, ExitStack() as stack:
        if not lock.take():
            raise FolderError(f"another Defender runs in {folder.path}; stop it first")
        limit = settings.outbox_mb * MEGABYTE
        outbox = Outbox(folder / "outbox.db", limit, dropped)
        stack.callback(outbox.close)
        agent = Agent(folder, settings, outbox)
        stack.callback(agent.close)
        agent.open()
        asyncio.run(agent.stay())


class Agent:
    """Ties enforcement, outbox and link together; obeys the Console."""

    def __init__(
        self, folder: Folder, settings: DefenderSettings, outbox: Outbox
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._outbox = outbox
        self._troubles = Troubles(self.report)
        self._policy = StandingPolicy(folder, self._troubles)
        self._enforcement = Enforcement(folder, self.report, self._troubles)
        self._facts = HostFacts()
        self._clock = ClockWatch()
        self._expires: datetime | None = None
        self._certificate_due = 0.0
        self._jumped = 0.0
        self._status = StatusFile(folder / "status.json")
        epochs = HighestEpoch(folder / "epoch")
        self._link = Link(settings.addresses, folder.tls, epochs, self, outbox)
        # What an earlier connection ordered may still be under way.
        self._obeying = threading.Lock()

    def open(self) -> None:
        """Enforce what the Console said last."""
        self._enforcement.open()
        self._enforcement.apply(self._policy.current.rule)

    def close(self) -> None:
        """Enforce nothing any more."""
        self._enforcement.close()
        self._status.close()

    async def stay(self) -> None:
        """Stay in touch with the Console until a signal asks to end."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        tasks = [
            asyncio.create_task(self._link.run()),
            asyncio.create_task(self._beat()),
            asyncio.create_task(_until(stop)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def report(self, events: Sequence[Event]) -> None:
        """Keep *events* for the Console."""
        self._outbox.add([body_of(event) for event in events])

    def hello(self) -> DefenderHello:
        """Who we are."""
        return DefenderHello(
            self._settings.defender,
            __version__,
            policy=self._policy.current.hash,
            facts=self._facts.look(),
        )

    def renewal(self) -> RenewalRequested | None:
        """Ask for a certificate when ours ends soon."""
        try:
            return certificate.renewal(self._folder, self._settings.defender)
        except DefenderError as error:
            log.warning("the certificate is not renewed: %s", error)
            return None

    def obey(self, order: PolicyPushed | Scan | CertificateRenewed) -> None:
        """Enforce another policy, run the checks, or keep another certificate."""
        with self._obeying:
            match order:
                case PolicyPushed():
                    log.info("policy version %d came", order.version)
                    self._policy.keep(order)
                    self._troubles.clear("message")
                    self._enforcement.apply(order.rule)
                case Scan():
                    self._enforcement.scan()
                case CertificateRenewed():
                    self._keep_certificate(order)

    def malformed(self, sentence: str) -> None:
        """Tell of a message that could not be read."""
        self._troubles.tell("message", sentence)

    def _keep_certificate(self, renewed: CertificateRenewed) -> None:
        """It counts from the next connection on."""
        try:
            end = certificate.keep(self._folder, renewed.certificate)
        except (DefenderError, OSError) as error:
            log.warning("the Console's new certificate is left aside: %s", error)
        else:
            log.info("our certificate was renewed; it is valid until %s", end.date())
            self._certificate_due = 0.0

    async def _beat(self) -> None:
        while True:
            await asyncio.to_thread(self._pulse)
            await asyncio.sleep(PULSE_SECONDS)

    def _pulse(self) -> None:
        """Look after what nothing else wakes us for, and show where we stand."""
        self._outbox.retry()
        if jump := self._clock.jump():
            self._troubles.tell("clock", jump.sentence, alike=f"clock {jump.way}")
            self._jumped = boottime()
        elif boottime() - self._jumped > JUMP_SHOWN_SECONDS:
            self._troubles.clear("clock")
        if boottime() >= self._certificate_due:
            self._check_certificate()
        self._show()

    def _check_certificate(self) -> None:
        self._certificate_due = boottime() + CERTIFICATE_SECONDS
        try:
            self._expires = certificate.expires(self._folder)
            fault = certificate.fault(self._expires)
        except DefenderError as error:
            fault = str(error)
        self._troubles.note("certificate", fault)

    def _show(self) -> None:
        link, policy = self._link.state, self._policy.current
        outbox = self._outbox.state()
        self._troubles.note("outbox", outbox.trouble)
        self._troubles.note("names", self._link.names_trouble)
        status = Status(
            at=utc_now(),
            version=__version__,
            pid=os.getpid(),
            defender=self._settings.defender,
            connected=link.connected,
            since=link.since,
            epoch=link.epoch,
            error=link.error,
            error_at=link.error_at,
            policy=policy.version,
            rule=policy.rule.name if policy.rule else None,
            waiting=outbox.count,
            waiting_bytes=outbox.bytes,
            limit_mb=self._settings.outbox_mb,
            oldest=_time_of(outbox.oldest),
            certificate_expires=self._expires,
            troubles=tuple(self._troubles.standing()),
        )
        try:
            self._status.write(status)
        except (OSError, ValueError) as error:
            log.warning("the status cannot be written: %s", error)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


def _time_of(body: str | None) -> datetime | None:
    return datetime.fromisoformat(json.loads(body)["time"]) if body else None
