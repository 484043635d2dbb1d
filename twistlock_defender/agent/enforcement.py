"""All that is enforced on this host: processes, files, compliance checks."""

import logging
from typing import Protocol

from twistlock_console.protocol import HostRule
from twistlock_defender.agent.compliance import Compliance
from twistlock_defender.common.folder import Folder
from twistlock_defender.common.problems import Report, Troubles
from twistlock_defender.files.monitor import FileWatch
from twistlock_defender.processes.monitor import ProcessWatch

log = logging.getLogger(__name__)


class _Part(Protocol):
    def open(self) -> None: ...
    def close(self) -> None: ...
    def apply(self, rule: HostRule | None) -> None: ...


class Enforcement:
    """Enforces one rule at a time; each part goes on whatever befalls the others."""

    def __init__(self, folder: Folder, report: Report, troubles: Troubles) -> None:
        stamp = folder / "checks-ran"
        self._compliance = Compliance(stamp, report, troubles)
        self._parts: tuple[_Part, ...] = (
            ProcessWatch(report, troubles),
            FileWatch(folder.path, report, troubles),
            self._compliance,
        )

    def open(self) -> None:
        """Begin; nothing is enforced before there is a rule."""
        for part in self._parts:
            part.open()

    def close(self) -> None:
        """Enforce nothing any more."""
        for part in self._parts:
            part.close()

    def apply(self, rule: HostRule | None) -> None:
        """Enforce *rule* instead of the one before."""
        log.info("enforcing %s", f"rule {rule.name}" if rule else "nothing")
        for part in self._parts:
            part.apply(rule)

    def scan(self) -> None:
        """Run the compliance checks now."""
        self._compliance.scan()
