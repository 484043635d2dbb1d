"""What the node API answers about backups: to pages, API and command line."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from twistlock_console.backups.jobs.host import HealthOfNode, PortsOfNode
from twistlock_console.backups.jobs.runtime import Backups
from twistlock_console.backups.jobs.service import Orders
from twistlock_console.backups.jobs.task import Who
from twistlock_console.backups.storage.volume import Stored
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.settings import Settings


def node_routes(
    settings: Settings, ports: PortsOfNode, health: HealthOfNode, backups: Backups
) -> Blueprint:
    """The routes under /v1/backups."""
    bp = Blueprint("backups", __name__, url_prefix="/v1/backups")
    here = settings.node_address

    @bp.before_request
    def only_where_it_serves() -> None:
        if request.method == "POST" and not ports.is_open:
            raise Refused(f"{here} does not serve; ask the primary.")

    @bp.get("")
    def look() -> ResponseReturnValue:
        return _view(settings, ports, health, backups)

    @bp.get("/primary")
    def primary() -> ResponseReturnValue:
        if ports.is_open:
            return {"primary": here}
        hello = backups.database.client.admin.command("hello")
        found = str(hello.get("primary", "")).rpartition(":")[0]
        return {"primary": found or None}

    @bp.get("/runs/<run>")
    def outcome(run: str) -> ResponseReturnValue:
        return _outcome(backups, run)

    _order_routes(bp, backups.orders)
    return bp


def _order_routes(bp: Blueprint, orders: Orders) -> None:
    @bp.post("/create")
    def create() -> ResponseReturnValue:
        body = _body()
        passphrase = str(body.get("passphrase") or "")
        return {"run": orders.create(_text(body, "name"), passphrase, _by(body))}

    @bp.post("/restore")
    def restore() -> ResponseReturnValue:
        body = _body()
        return {"run": orders.restore(_text(body, "id"), _by(body))}

    @bp.post("/verify")
    def verify() -> ResponseReturnValue:
        body = _body()
        restored = body.get("restore") is True
        return {"run": orders.verify(_text(body, "id"), _by(body), restored=restored)}

    @bp.post("/admit")
    def admit() -> ResponseReturnValue:
        body = _body()
        upload, file = _text(body, "upload"), _text(body, "id")
        return {"run": orders.admit(upload, file, _by(body))}

    @bp.post("/rename")
    def rename() -> ResponseReturnValue:
        body = _body()
        return {"id": orders.rename(_text(body, "id"), _text(body, "name"), _by(body))}

    @bp.post("/delete")
    def delete() -> ResponseReturnValue:
        body = _body()
        orders.delete(_text(body, "id"), _by(body))
        return {}


def _view(
    settings: Settings, ports: PortsOfNode, health: HealthOfNode, backups: Backups
) -> dict[str, Any]:
    problem = ""
    found: list[Stored] = []
    try:
        found = backups.orders.list()
    except ConsoleError as error:
        problem = str(error)
    return {
        "serving": ports.is_open,
        "volume": str(settings.data_recovery_volume),
        "problem": problem or health.failing.get("backup-volume", ""),
        "automatic": settings.data_recovery_enabled,
        "keyFile": settings.data_recovery_key_file is not None,
        "work": backups.jobs.view(),
        "backups": [_shown(each) for each in found],
        "results": _plain(backups.results()),
    }


def _outcome(backups: Backups, run: str) -> dict[str, Any]:
    """How the work called *run* goes, or how it ended."""
    work = backups.jobs.view()
    if work is not None and work["run"] == run:
        return {"state": "running", "work": work}
    found = next((r for r in backups.results().values() if r.get("run") == run), None)
    if found is None:
        raise Refused(f"there is no work called {run}")
    error = found.get("error") or ""
    if found["state"] == "running":
        error = "it was cut short: the node that did it ended"
    return {"state": "ended", "error": error, "file": found.get("file", "")}


def _shown(each: Stored) -> dict[str, Any]:
    return {
        "id": each.name.file,
        "name": each.name.name,
        "release": each.name.version,
        "time": each.name.made.isoformat(),
        "size": each.size,
        "verified": each.verified.isoformat() if each.verified else None,
        "system": each.name.is_system,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value


def _body() -> Mapping[str, Any]:
    body = request.get_json(silent=True)
    return body if isinstance(body, dict) else {}


def _by(body: Mapping[str, Any]) -> Who:
    found = body.get("by")
    if not isinstance(found, dict):
        return Who("root")
    return Who(*(_text(found, key) for key in ("username", "sourceIP", "api")))


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f'"{key}" is missing or is no text.')
    return value
