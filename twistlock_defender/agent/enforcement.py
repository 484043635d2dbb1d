"""Enforce one rule at a time on this host: processes, files, compliance checks."""

import logging
import threading
from pathlib import Path
from typing import Protocol

from twistlock_console.protocol import (
    UNNUMBERED,
    ComplianceEvent,
    HostRule,
    PolicyPushed,
    ProtocolError,
    decode_from_console,
    encode,
)
from twistlock_defender import checks
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.folder import Folder
from twistlock_defender.common.problems import Problems, Report
from twistlock_defender.files.monitor import FileMonitor
from twistlock_defender.processes.monitor import ProcessMonitor

NO_POLICY = PolicyPushed(0, "", None)
POLICY_FILE = "policy.json"
POLICY_TOPIC = "policy"
HOUR_S = 3600.0
CHECKS_TOPIC = "checks"
log = logging.getLogger(__name__)


class PolicyStore:
    """Stores the last policy of the Console in *folder*, to enforce it while offline.

    A damaged file is reported, and the Console then sends the policy again.
    """

    def __init__(self, folder: Folder, problems: Problems) -> None:
        self._folder = folder
        self._problems = problems
        self.current = self._read()

    def store(self, policy: PolicyPushed) -> None:
        """Store *policy*; if that fails, it is in force until the next start only."""
        self.current = policy
        try:
            self._folder.write(POLICY_FILE, encode(policy).encode())
        except OSError as error:
            path = self._folder / POLICY_FILE
            self._problems.add(
                POLICY_TOPIC,
                f"{path} cannot be written ({error.strerror}); the policy is enforced "
                "until a restart",
            )
        else:
            self._problems.clear(POLICY_TOPIC)

    def _read(self) -> PolicyPushed:
        path = self._folder / POLICY_FILE
        try:
            message = decode_from_console(path.read_text())
            if isinstance(message, PolicyPushed):
                return message
            reason = "it is not a policy"
        except FileNotFoundError:
            return NO_POLICY
        except (OSError, ValueError, ProtocolError) as error:
            reason = str(error)
        self._problems.add(
            POLICY_TOPIC,
            f"{path} cannot be used ({reason}); nothing is enforced until the Console "
            "sends the policy again",
        )
        return NO_POLICY


class _Enforcer(Protocol):
    def open(self) -> None: ...
    def close(self) -> None: ...
    def apply(self, rule: HostRule | None) -> None: ...


class Enforcement:
    """Enforces one rule at a time; a failure of one enforcer stops no other.

    Each enforcer has a thread of its own.
    """

    def __init__(self, folder: Folder, report: Report, problems: Problems) -> None:
        stamp = folder / "checks-ran"
        self._compliance = Compliance(stamp, report, problems)
        self._enforcers: tuple[_Enforcer, ...] = (
            ProcessMonitor(report, problems),
            FileMonitor(folder.path, report, problems),
            self._compliance,
        )

    def open(self) -> None:
        """Start the threads; nothing is enforced before `apply`."""
        for part in self._enforcers:
            part.open()

    def close(self) -> None:
        """Stop enforcing."""
        for part in self._enforcers:
            part.close()

    def apply(self, rule: HostRule | None) -> None:
        """Enforce *rule* instead of the present one; None to enforce nothing."""
        log.info("enforcing %s", f"rule {rule.name}" if rule else "nothing")
        for part in self._enforcers:
            part.apply(rule)

    def scan(self) -> None:
        """Run the compliance checks now."""
        self._compliance.scan()


class Compliance:
    """Runs the compliance checks of the present rule, on a thread of its own.

    The modification time of the file *stamp* is the time of the last run.
    """

    def __init__(self, stamp: Path, report: Report, problems: Problems) -> None:
        self._stamp = stamp
        self._report = report
        self._problems = problems
        self._rule: HostRule | None = None
        self._last_run: float | None = None
        self._scan_requested = False
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread without waiting for a present run."""
        self._stopping = True
        self._wake.set()

    def apply(self, rule: HostRule | None) -> None:
        """Run the checks of *rule* from now on, at its interval."""
        if rule and (unknown := checks.unknown_ids(rule.compliance.checks)):
            sentence = (
                f"rule {rule.name} names checks that this Defender does not have: "
            )
            self._problems.add(CHECKS_TOPIC, sentence + ", ".join(unknown), rule.name)
        else:
            self._problems.clear(CHECKS_TOPIC)
        self._rule = rule
        self._wake.set()

    def scan(self) -> None:
        """Run the checks now."""
        self._scan_requested = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            rule = self._rule
            left = self._seconds_until_due(rule) if rule else None
            if rule and (self._scan_requested or (left is not None and left <= 0)):
                self._scan_requested = False
                self._run_checks(rule)
            else:
                self._wake.wait(left)
                self._wake.clear()

    def _seconds_until_due(self, rule: HostRule) -> float:
        """Return the seconds until the checks are due, by the boot-time clock."""
        if self._last_run is None:
            self._last_run = boottime() - self._seconds_since_last_run()
        return self._last_run + rule.compliance.every_hours * HOUR_S - boottime()

    def _seconds_since_last_run(self) -> float:
        """Return the seconds since the last run of any process; infinity if unknown."""
        try:
            age = utc_now().timestamp() - self._stamp.stat().st_mtime
        except OSError:
            return float("inf")
        return age if age >= 0 else float("inf")

    def _run_checks(self, rule: HostRule) -> None:
        time = utc_now()
        results = checks.run_checks(rule.compliance.checks)
        if self._stopping:
            return
        failed = sum(not result.passed for result in results)
        log.info("compliance: %d of %d checks failed", failed, len(results))
        self._report([ComplianceEvent(UNNUMBERED, time, rule.name, results)])
        self._last_run = boottime()
        try:
            self._stamp.touch()
        except OSError as error:
            log.warning("%s cannot be written: %s", self._stamp, error.strerror)
