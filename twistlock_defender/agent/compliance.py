"""Runs the compliance checks: when the rule says so, and when the Console asks."""

import logging
import threading
from pathlib import Path

from twistlock_console.protocol import ComplianceEvent, HostRule
from twistlock_defender import checks
from twistlock_defender.common.clock import boottime, utc_now
from twistlock_defender.common.findings import UNNUMBERED
from twistlock_defender.common.problems import Report, Troubles

HOUR = 3600.0
TOPIC = "checks"
log = logging.getLogger(__name__)


class Compliance:
    """Runs the checks of the rule it was given last, on a thread of its own.

    *stamp* is a file that tells when they last ran, over restarts.
    """

    def __init__(self, stamp: Path, report: Report, troubles: Troubles) -> None:
        self._stamp = stamp
        self._report = report
        self._troubles = troubles
        self._rule: HostRule | None = None
        self._ran: float | None = None
        self._asked = False
        self._stopping = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)

    def open(self) -> None:
        """Begin to run checks."""
        self._thread.start()

    def close(self) -> None:
        """Run no more checks; the run under way is not waited for."""
        self._stopping = True
        self._wake.set()

    def apply(self, rule: HostRule | None) -> None:
        """Run the checks of *rule* from now on, when they are due."""
        if rule and (unknown := checks.unknown(rule.compliance.checks)):
            sentence = f"rule {rule.name} names checks we do not have: "
            self._troubles.tell(TOPIC, sentence + ", ".join(unknown), rule.name)
        else:
            self._troubles.clear(TOPIC)
        self._rule = rule
        self._wake.set()

    def scan(self) -> None:
        """Run them now."""
        self._asked = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            rule = self._rule
            left = self._seconds_left(rule) if rule else None
            if rule and (self._asked or (left is not None and left <= 0)):
                self._asked = False
                self._check(rule)
            else:
                self._wake.wait(left)
                self._wake.clear()

    def _seconds_left(self, rule: HostRule) -> float:
        """Seconds until the checks are due; the wall clock counts for restarts only."""
        if self._ran is None:
            self._ran = boottime() - self._age()
        return self._ran + rule.compliance.every_hours * HOUR - boottime()

    def _age(self) -> float:
        """Seconds since an earlier process ran them; very long ago if it is unclear."""
        try:
            age = utc_now().timestamp() - self._stamp.stat().st_mtime
        except OSError:
            return float("inf")
        return age if age >= 0 else float("inf")

    def _check(self, rule: HostRule) -> None:
        time = utc_now()
        results = checks.run(rule.compliance.checks)
        if self._stopping:
            return
        failed = sum(not result.passed for result in results)
        log.info("compliance: %d of %d checks failed", failed, len(results))
        self._report([ComplianceEvent(UNNUMBERED, time, rule.name, results)])
        self._ran = boottime()
        try:
            self._stamp.touch()
        except OSError as error:
            log.warning("%s cannot be written: %s", self._stamp, error.strerror)
