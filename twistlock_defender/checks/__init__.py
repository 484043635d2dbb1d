"""Run compliance checks of the host, after the CIS benchmark for Linux."""

import logging
from collections.abc import Sequence
from pathlib import Path

from twistlock_console.protocol import ComplianceResult
from twistlock_defender.checks import services, system
from twistlock_defender.checks.check import Check
from twistlock_defender.common.errors import describe_error
from twistlock_defender.common.problems import MAX_SENTENCE_CHARACTERS, printable

log = logging.getLogger(__name__)

CHECKS: tuple[Check, ...] = (
    *services.SSH_CHECKS,
    *system.ACCOUNT_CHECKS,
    *system.FILE_CHECKS,
    *services.DOCKER_CHECKS,
    *system.KERNEL_CHECKS,
)


def run_checks(
    ids: Sequence[str] | None, root: Path = Path("/")
) -> tuple[ComplianceResult, ...]:
    """Run the checks with these *ids*, or all if None, on the host below *root*."""
    return tuple(
        _run_check(check, root) for check in CHECKS if ids is None or check.id in ids
    )


def unknown_ids(ids: Sequence[str] | None) -> list[str]:
    """Return the *ids* that no check has."""
    known = {check.id for check in CHECKS}
    return sorted(set(ids or ()) - known)


def _run_check(check: Check, root: Path) -> ComplianceResult:
    try:
        fault = check.find_fault(root)
    except Exception as error:
        # A file of the host may hold anything; the other checks must run.
        log.exception("check %s failed", check.id)
        fault = f"the check failed: {describe_error(error)}"
    detail = printable(fault or "", MAX_SENTENCE_CHARACTERS)
    return ComplianceResult(check.id, check.title, check.severity, not fault, detail)
