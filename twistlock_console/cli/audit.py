"""Record commands of a host's command line in the audit trail."""

from pymongo.errors import PyMongoError

from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings


def record_command(settings: Settings, command: str, status: str) -> None:
    """Record *status*, the result of `twistlock-console` *command* on this host.

    Any node can do it: the client finds the primary. Raises DatabaseError if the
    record failed; the command itself is done.
    """
    entry = AuditEntry(
        type=AuditType.CLUSTER,
        username="root",
        source_ip=settings.node_address,
        api=f"twistlock-console {command}",
        status=status,
    )
    credentials = credentials_for(settings, "console")
    try:
        with connect(
            settings, credentials, app_name="command", whole_set=True
        ) as client:
            trail.record(client["twistlock"], entry)
    except PyMongoError as error:
        raise DatabaseError(
            f"done, but the audit record failed: {describe_error(error)}"
        ) from error
