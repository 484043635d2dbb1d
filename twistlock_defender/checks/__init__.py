"""Compliance checks of the host, in the spirit of the CIS benchmark for Linux."""

import logging
from collections.abc import Sequence
from pathlib import Path

from twistlock_console.protocol import CheckResult
from twistlock_defender.checks import services, system
from twistlock_defender.checks.check import Check
from twistlock_defender.common.errors import describe_error
from twistlock_defender.common.problems import MAX_SENTENCE, printable

log = logging.getLogger(__name__)

CHECKS: tuple[Check, ...] = (
    *services.SSH_CHECKS,
    *system.ACCOUNT_CHECKS,
    *system.FILE_CHECKS,
    *services.DOCKER_CHECKS,
    *system.KERNEL_CHECKS,
)


def run(ids: Sequence[str] | None, root: Path = Path("/")) -> tuple[CheckResult, ...]:
    """Run the checks with these *ids*, all for None, on the host below *root*."""
    return tuple(
        _result(check, root) for check in CHECKS if ids is None or check.id in ids
    )


def unknown(ids: Sequence[str] | None) -> list[str]:
    """Return those of *ids* that no check has."""
    known = {check.id for check in CHECKS}
    return sorted(set(ids or ()) - known)


def _result(check: Check, root: Path) -> CheckResult:
    try:
        fault = check.fault(root)
    except Exception as error:
        # Files of others hold what nobody foresaw; the other checks must run.
        log.exception("check %s failed", check.id)
        fault = f"it cannot be looked at: {describe_error(error)}"
    detail = printable(fault or "", MAX_SENTENCE)
    return CheckResult(check.id, check.title, check.severity, not fault, detail)
