"""Changes of settings, done the same way from a page and from the API."""

from flask import request

from twistlock_console import audits
from twistlock_console.accounts.logon import write_logon
from twistlock_console.audits import AuditType, Entry
from twistlock_console.web.bodies import LogonBody
from twistlock_console.web.storage import database
from twistlock_console.web.visits import current_username, logon_cache


def change_logon(body: LogonBody) -> None:
    """Store the logon settings, put them in force and record who changed them."""
    new = body.settings()
    old = write_logon(database(), new)
    logon_cache().forget()
    audits.record(
        database(),
        Entry(
            type=AuditType.SETTINGS,
            username=current_username(),
            source_ip=request.remote_addr or "unknown",
            api=request.path,
            status="changed the logon settings",
            diff=audits.difference(old.to_json(), new.to_json()),
        ),
    )
