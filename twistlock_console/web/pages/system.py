"""Manage > System and View Logs: node, log, history, and API explorer."""

from datetime import datetime
from pathlib import Path

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import IdentityError, NotFound
from twistlock_console.pki.identity_files import NODE, load_certificate
from twistlock_console.web.actions.monitoring import (
    read_requested_lines,
    requested_line_count,
)
from twistlock_console.web.common.database import current_settings, database
from twistlock_console.web.lists.listing import ListPage, ListSource, register_list
from twistlock_console.web.lists.registry import HISTORY
from twistlock_console.web.openapi.api_call import JSON
from twistlock_console.web.openapi.document import Json, api_document
from twistlock_console.web.openapi.explorer import Outcome, example_body, send_call
from twistlock_console.web.security.guards import guard_pages

bp = Blueprint("system", __name__, url_prefix="/manage/system")
guard_pages(bp, Areas.SYSTEM)
api_bp = Blueprint("api_page", __name__, url_prefix="/manage/system/api")
# Sending a call has the effect of the call: its own guard checks the rights.
guard_pages(api_bp, Areas.OWN_ACCOUNT)
logs_bp = Blueprint("logs", __name__, url_prefix="/manage/logs")
guard_pages(logs_bp, Areas.SYSTEM)
history_bp = Blueprint("history", __name__, url_prefix="/manage/logs")
guard_pages(history_bp, Areas.HISTORY)
BLUEPRINTS = (bp, api_bp, logs_bp, history_bp)


@bp.get("/general")
def general() -> ResponseReturnValue:
    """Show the node's version, address, certificate and database."""
    settings = current_settings()
    return render_template(
        "general.html",
        settings=settings,
        expires=_certificate_end(settings.folders.certificates / NODE),
        database_version=database().client.server_info()["version"],
    )


@logs_bp.get("/console")
def console() -> ResponseReturnValue:
    """Show the latest lines of this node's log, the newest first."""
    lines = read_requested_lines(request.args)[::-1]
    line_count = requested_line_count(request.args)
    return render_template("logs.html", lines=lines, line_count=line_count)


@register_list(history_bp, "/history", ListSource(HISTORY))
def trail(found: ListPage) -> str:
    """Show the audit trail, the latest first."""
    return render_template("history.html", list_page=found)


@api_bp.get("")
def calls() -> ResponseReturnValue:
    """List the calls of the API."""
    groups: dict[str, list[Json]] = {}
    for path, methods in api_document()["paths"].items():
        for method, call in methods.items():
            shown = {**call, "method": method.upper(), "path": path}
            groups.setdefault(call["tags"][0], []).append(shown)
    return render_template("api.html", groups=groups)


@api_bp.get("/<call_id>")
def call(call_id: str) -> ResponseReturnValue:
    """Describe one call, with a form to try it."""
    return _show(call_id, None)


@api_bp.post("/<call_id>")
def send(call_id: str) -> ResponseReturnValue:
    """Send one call as the present user, and show the response."""
    method, path, described = _find_call(call_id)
    values = {
        parameter["name"]: request.form[f"{parameter['in']}-{parameter['name']}"]
        for parameter in described["parameters"]
        if request.form.get(f"{parameter['in']}-{parameter['name']}")
    }
    body = request.form.get("body", "") if _json_body(described) else ""
    return _show(call_id, send_call(method, path, values, body))


def _show(call_id: str, outcome: Outcome | None) -> str:
    method, path, described = _find_call(call_id)
    content = _json_body(described)
    example = example_body(content["schema"], _schemas()) if content else ""
    return render_template(
        "api_call.html",
        method=method,
        path=path,
        call=described,
        takes_json=content is not None,
        body=request.form.get("body") or example,
        outcome=outcome,
    )


def _json_body(described: Json) -> Json | None:
    """Return the JSON body that a call takes; a call that takes a file has none."""
    content: Json = described.get("requestBody", {}).get("content", {})
    return content.get(JSON)


def _find_call(call_id: str) -> tuple[str, str, Json]:
    for path, methods in api_document()["paths"].items():
        for method, described in methods.items():
            if described["operationId"] == call_id:
                return method.upper(), path, described
    raise NotFound("there is no such call; see Manage > System > API")


def _schemas() -> Json:
    schemas: Json = api_document()["components"]["schemas"]
    return schemas


def _certificate_end(path: Path) -> datetime | None:
    try:
        return load_certificate(path).not_valid_after_utc
    except IdentityError:
        return None
