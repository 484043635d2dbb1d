"""Manage > System > General: what this node is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Area
from twistlock_console.settings import Settings
from twistlock_console.web.auth import pages_for
from twistlock_console.web.storage import database

bp = Blueprint("system", __name__, url_prefix="/manage/system")
pages_for(bp, Area.SYSTEM)

SOON = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Certificate:
    """When a certificate ends, and whether that is soon."""

    expires: datetime
    soon: bool


@bp.get("/general")
def general() -> ResponseReturnValue:
    """Show the node's version, address, certificate and database."""
    settings = cast(Settings, current_app.extensions["settings"])
    return render_template(
        "general.html",
        settings=settings,
        certificate=_certificate(settings.folders.certificates / "node.pem"),
        database_version=database().client.server_info()["version"],
    )


def _certificate(path: Path) -> Certificate | None:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    expires = found.not_valid_after_utc
    return Certificate(expires, expires - datetime.now(UTC) < SOON)
