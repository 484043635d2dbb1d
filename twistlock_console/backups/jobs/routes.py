"""Routes of the node API for backups; pages, API and command line use them."""

from collections.abc import Mapping

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from twistlock_console.backups.jobs.responses import (
    BackupsOverview,
    ListedBackup,
    RunState,
)
from twistlock_console.backups.jobs.runner import Actor
from twistlock_console.backups.jobs.runtime import Backups, HealthOfNode
from twistlock_console.backups.jobs.service import (
    BackupService,
    JobState,
    PortsOfNode,
)
from twistlock_console.backups.storage.volume import StoredBackup
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.node_api.server import sent_json
from twistlock_console.settings import Settings


def node_routes(
    settings: Settings, ports: PortsOfNode, health: HealthOfNode, backups: Backups
) -> Blueprint:
    """Return the routes under /v1/backups."""
    bp = Blueprint("backups", __name__, url_prefix="/v1/backups")
    here = settings.node_address

    @bp.before_request
    def only_where_it_serves() -> None:
        if request.method == "POST" and not ports.is_open:
            raise Refused(f"{here} does not serve; ask the primary.")

    @bp.get("")
    def overview() -> ResponseReturnValue:
        return _overview(settings, ports, health, backups).to_json()

    @bp.get("/primary")
    def primary() -> ResponseReturnValue:
        if ports.is_open:
            return {"primary": here}
        hello = backups.database.client.admin.command("hello")
        found = str(hello.get("primary", "")).rpartition(":")[0]
        return {"primary": found or None}

    @bp.get("/runs/<run>")
    def run_state(run: str) -> ResponseReturnValue:
        return _run_state(backups.service, run).to_json()

    _job_routes(bp, backups.service)
    return bp


def _job_routes(bp: Blueprint, service: BackupService) -> None:
    @bp.post("/create")
    def create() -> ResponseReturnValue:
        body = _body()
        passphrase = str(body.get("passphrase") or "")
        return {"run": service.create(_text(body, "name"), passphrase, _by(body))}

    @bp.post("/restore")
    def restore() -> ResponseReturnValue:
        body = _body()
        return {"run": service.restore(_text(body, "id"), _by(body))}

    @bp.post("/verify")
    def verify() -> ResponseReturnValue:
        body = _body()
        restored = body.get("restore") is True
        return {"run": service.verify(_text(body, "id"), _by(body), restored=restored)}

    @bp.post("/admit")
    def admit() -> ResponseReturnValue:
        body = _body()
        upload, file = _text(body, "upload"), _text(body, "id")
        return {"run": service.import_upload(upload, file, _by(body))}

    @bp.post("/rename")
    def rename() -> ResponseReturnValue:
        body = _body()
        return {"id": service.rename(_text(body, "id"), _text(body, "name"), _by(body))}

    @bp.post("/delete")
    def delete() -> ResponseReturnValue:
        body = _body()
        service.delete(_text(body, "id"), _by(body))
        return {}


def _overview(
    settings: Settings, ports: PortsOfNode, health: HealthOfNode, backups: Backups
) -> BackupsOverview:
    problem = ""
    found: list[StoredBackup] = []
    try:
        found = backups.service.list()
    except ConsoleError as error:
        problem = str(error)
    results = backups.service.results()
    return BackupsOverview(
        serving=ports.is_open,
        volume=str(settings.data_recovery_volume),
        problem=problem or health.failing.get("backup-volume", ""),
        automatic=settings.data_recovery_enabled,
        key_file=settings.data_recovery_key_file is not None,
        work=backups.service.jobs.status(),
        backups=[_listed(each) for each in found],
        results={key: record.to_json() for key, record in results.items()},
    )


def _run_state(service: BackupService, run: str) -> RunState:
    """Return the progress of the job with the id *run*, or its outcome."""
    work = service.jobs.status()
    if work is not None and work.run == run:
        return RunState(state="running", work=work)
    found = next((r for r in service.results().values() if r.run == run), None)
    if found is None:
        raise Refused(f"there is no job {run}")
    error = found.error or ""
    if found.state is JobState.RUNNING:
        error = "it was interrupted: the node that ran it ended"
    return RunState(state="ended", error=error, file=found.file or "")


def _listed(each: StoredBackup) -> ListedBackup:
    return ListedBackup(
        id=each.name.file,
        name=each.name.name,
        release=each.name.version,
        time=each.name.made.isoformat(),
        size=each.size,
        verified=each.verified.isoformat() if each.verified else None,
        system=each.name.is_system,
    )


def _body() -> Mapping[str, object]:
    body = sent_json()
    return body if isinstance(body, dict) else {}


def _by(body: Mapping[str, object]) -> Actor:
    found = body.get("by")
    if not isinstance(found, dict):
        return Actor("root")
    return Actor(*(_text(found, key) for key in ("username", "sourceIP", "api")))


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(f'"{key}" is missing or is no text.')
    return value
