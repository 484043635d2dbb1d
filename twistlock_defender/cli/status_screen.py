"""Print the output of `twistlock-defender status`."""

import sys
from datetime import datetime

from twistlock_defender.common.clock import utc_now
from twistlock_defender.common.folder import AgentStatus, Folder, RunLock, read_status

MEGABYTE = 1024 * 1024


def print_status(folder: Folder, *, as_json: bool) -> int:
    """Print the status of the Defender of *folder*; return 0 if it is connected."""
    path = folder / "status.json"
    status = read_status(path)
    with RunLock(folder / "lock") as lock:
        running = not lock.acquire()
    if as_json:
        sys.stdout.write(path.read_text().strip() + "\n")
    else:
        lines = status_lines(status, running=running, now=utc_now())
        sys.stdout.write("\n".join(lines) + "\n")
    return 0 if running and status.connected else 1


def status_lines(status: AgentStatus, *, running: bool, now: datetime) -> list[str]:
    """Return the lines that show *status*."""
    rows = [
        ("Defender", f"{status.defender}, version {status.version}"),
        ("Running", f"process {status.pid}" if running else "no; start the Defender"),
        ("Console", _console(status, running, now)),
        ("Last error", _last_error(status, now)),
        ("Epoch", str(status.epoch)),
        ("Policy", _policy(status)),
        ("Outbox", _outbox(status, now)),
        ("Certificate", _certificate(status)),
    ]
    lines = [f"{name:<12} {value}" for name, value in rows]
    lines += [f"{'Trouble':<12} {sentence}" for sentence in status.troubles]
    return lines


def _last_error(status: AgentStatus, now: datetime) -> str:
    if not status.error:
        return "none"
    if not status.error_at:
        return status.error
    ago = format_duration((now - status.error_at).total_seconds())
    return f"{status.error}, {ago} ago"


def format_duration(seconds: float) -> str:
    """Return *seconds* in the largest unit that fits."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{max(int(seconds), 0)} s"


def _console(status: AgentStatus, running: bool, now: datetime) -> str:
    since = f"since {status.since:%Y-%m-%d %H:%M:%S} UTC"
    lasted = format_duration((now - status.since).total_seconds())
    if status.connected and running:
        return f"connected to {status.connected} {since} ({lasted})"
    return f"not connected {since} ({lasted}); the policy is still enforced"


def _policy(status: AgentStatus) -> str:
    if not status.policy:
        return "none yet; nothing is enforced"
    rule = f"rule {status.rule}" if status.rule else "no rule for this host"
    return f"version {status.policy}, {rule}"


def _outbox(status: AgentStatus, now: datetime) -> str:
    if not status.waiting:
        return f"empty, {status.limit_mb} MB at most"
    size = status.waiting_bytes / MEGABYTE
    oldest = (
        format_duration((now - status.oldest).total_seconds())
        if status.oldest
        else "unknown"
    )
    return (
        f"{status.waiting:,} findings, {size:.1f} of {status.limit_mb} MB, "
        f"the oldest {oldest} old"
    )


def _certificate(status: AgentStatus) -> str:
    if status.certificate_expires is None:
        return "none that can be read"
    return f"valid until {status.certificate_expires:%Y-%m-%d}"
