"""What was done from a host's command line, for the history that the pages show."""

from pymongo.errors import PyMongoError

from twistlock_console.audit import trail
from twistlock_console.audit.trail import AuditEntry, AuditType
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings


def record_command(settings: Settings, command: str, status: str) -> None:
    """Record *status*, what root did with `twistlock-console` *command* on this host.

    Any node can: the client finds the primary. Raises DatabaseError if it is done and
    not on record.
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
            f"it is done, but not on record: {describe_error(error)}"
        ) from error
