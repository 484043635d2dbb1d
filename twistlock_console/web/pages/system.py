"""Manage > System > General: what this node is."""

from datetime import datetime
from pathlib import Path

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import NODE, load_certificate
from twistlock_console.web.common.database import current_settings, database
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("system", __name__, url_prefix="/manage/system")
pages_for(bp, Areas.SYSTEM)


@bp.get("/general")
def general() -> ResponseReturnValue:
    """Show the node's version, address, certificate and database."""
    settings = current_settings()
    return render_template(
        "general.html",
        settings=settings,
        expires=_expires(settings.folders.certificates / NODE),
        database_version=database().client.server_info()["version"],
    )


def _expires(path: Path) -> datetime | None:
    try:
        return load_certificate(path).not_valid_after_utc
    except IdentityError:
        return None
