"""Run the Defender: enforcement, outbox and link to the Console."""

import asyncio
import logging
import os
import signal
import threading
from contextlib import ExitStack
from datetime import datetime

from twistlock_console import __version__
from twistlock_console.protocol import (
    CertificateRenewed,
    DefenderHello,
    PolicyPushed,
    RenewalRequested,
    Scan,
    is_sound_event,
)
from twistlock_defender.agent import certificate
from twistlock_defender.agent.enforcement import Enforcement, PolicyStore
from twistlock_defender.agent.host_facts import HostFacts
from twistlock_defender.common.clock import ClockJumpDetector, boottime, utc_now
from twistlock_defender.common.errors import DefenderError, FolderError
from twistlock_defender.common.folder import (
    AgentSettings,
    AgentStatus,
    Folder,
    RunLock,
    StatusFile,
)
from twistlock_defender.common.json_text import load_json
from twistlock_defender.common.problems import Problems
from twistlock_defender.link.client import Link
from twistlock_defender.link.connection import HighestEpoch
from twistlock_defender.link.outbox import Outbox

TASK_INTERVAL_S = 1.0
CERTIFICATE_CHECK_INTERVAL_S = 3600.0
CLOCK_JUMP_DISPLAY_S = 3600.0
MEGABYTE = 1024 * 1024
log = logging.getLogger(__name__)


def run(folder: Folder) -> None:
    """Run the Defender of *folder* until SIGTERM or SIGINT. Raises DefenderError."""
    settings = folder.read_settings()
    with RunLock(folder / "lock") as lock, ExitStack() as stack:
        if not lock.acquire():
            raise FolderError(f"another Defender runs in {folder.path}; stop it first")
        limit = settings.outbox_mb * MEGABYTE
        outbox = Outbox(folder / "outbox.db", limit, is_sound_event)
        stack.callback(outbox.close)
        agent = Agent(folder, settings, outbox)
        stack.callback(agent.close)
        agent.open()
        asyncio.run(agent.run())


class Agent:
    """Connects enforcement, outbox and link; handles the Console's commands.

    The event loop runs the link; commands and periodic tasks run on worker threads.
    """

    def __init__(self, folder: Folder, settings: AgentSettings, outbox: Outbox) -> None:
        self._folder = folder
        self._settings = settings
        self._outbox = outbox
        self._problems = Problems(outbox.report)
        self._policy = PolicyStore(folder, self._problems)
        self._enforcement = Enforcement(folder, outbox.report, self._problems)
        self._facts = HostFacts()
        self._clock = ClockJumpDetector()
        self._expires: datetime | None = None
        self._certificate_due = 0.0
        self._clock_jumped_at = 0.0
        self._status = StatusFile(folder / "status.json")
        epochs = HighestEpoch(folder / "epoch")
        self._link = Link(
            settings.addresses, folder.create_tls_context, epochs, self, outbox
        )
        # A command of an earlier connection may still run.
        self._handling = threading.Lock()

    def open(self) -> None:
        """Start to enforce the stored policy."""
        self._enforcement.open()
        self._enforcement.apply(self._policy.current.rule)

    def close(self) -> None:
        """Stop enforcing."""
        self._enforcement.close()
        self._status.close()

    async def run(self) -> None:
        """Maintain the link to the Console until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        tasks = [
            asyncio.create_task(self._link.run()),
            asyncio.create_task(self._run_periodic_tasks()),
            asyncio.create_task(_wait_for(stop)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def create_hello(self) -> DefenderHello:
        """Return the first message of a connection."""
        return DefenderHello(
            self._settings.defender,
            __version__,
            policy=self._policy.current.hash,
            facts=self._facts.read(),
        )

    def create_renewal_request(self) -> RenewalRequested | None:
        """Return the request for another certificate; None if ours is not due."""
        try:
            return certificate.create_renewal_request(
                self._folder, self._settings.defender
            )
        except DefenderError as error:
            log.warning("the certificate is not renewed: %s", error)
            return None

    def handle_command(self, command: PolicyPushed | Scan | CertificateRenewed) -> None:
        """Enforce a new policy, run the checks, or store a renewed certificate."""
        with self._handling:
            match command:
                case PolicyPushed():
                    log.info("received policy version %d", command.version)
                    self._policy.store(command)
                    self._problems.clear("message")
                    self._enforcement.apply(command.rule)
                case Scan():
                    self._enforcement.scan()
                case CertificateRenewed():
                    self._store_certificate(command)

    def report_malformed(self, sentence: str) -> None:
        """Report a message that could not be parsed."""
        self._problems.add("message", sentence)

    def _store_certificate(self, renewed: CertificateRenewed) -> None:
        """Store the certificate, which the next connection uses."""
        try:
            end = certificate.store_renewed(self._folder, renewed.certificate)
        except (DefenderError, OSError) as error:
            log.warning("the Console's new certificate is not used: %s", error)
        else:
            log.info("our certificate was renewed; it is valid until %s", end.date())
            self._certificate_due = 0.0

    async def _run_periodic_tasks(self) -> None:
        while True:
            await asyncio.to_thread(self._run_tasks_once)
            await asyncio.sleep(TASK_INTERVAL_S)

    def _run_tasks_once(self) -> None:
        """Run the tasks that no event triggers, and write the status file."""
        self._outbox.retry()
        if jump := self._clock.find_jump():
            self._problems.add("clock", jump.sentence, alike=f"clock {jump.direction}")
            self._clock_jumped_at = boottime()
        elif boottime() - self._clock_jumped_at > CLOCK_JUMP_DISPLAY_S:
            self._problems.clear("clock")
        if boottime() >= self._certificate_due:
            self._check_certificate()
        self._write_status()

    def _check_certificate(self) -> None:
        self._certificate_due = boottime() + CERTIFICATE_CHECK_INTERVAL_S
        try:
            self._expires = certificate.read_expiry(self._folder)
            fault = certificate.expiry_problem(self._expires)
        except DefenderError as error:
            fault = str(error)
        self._problems.update("certificate", fault)

    def _write_status(self) -> None:
        link, policy = self._link.state, self._policy.current
        outbox = self._outbox.state()
        self._problems.update("outbox", outbox.trouble)
        self._problems.update("names", self._link.name_problem)
        status = AgentStatus(
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
            oldest=_event_time(outbox.oldest),
            certificate_expires=self._expires,
            troubles=tuple(self._problems.current()),
        )
        try:
            self._status.write(status)
        except (OSError, ValueError) as error:
            log.warning("the status cannot be written: %s", error)


async def _wait_for(stop: asyncio.Event) -> None:
    await stop.wait()


def _event_time(body: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(load_json(body)["time"]) if body else None
    except (ValueError, KeyError, TypeError):
        return None  # damaged on the disk
