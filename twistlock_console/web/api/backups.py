"""Backups over the API."""

from datetime import datetime
from typing import Annotated

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.common.models import Body
from twistlock_console.web.actions import backups
from twistlock_console.web.openapi.api_call import (
    ApiCall,
    parse_json_body,
    read_optional_json_body,
    refuse_unknown_members,
)
from twistlock_console.web.security.guards import guard_api

bp = Blueprint("api_backups", __name__)
guard_api(bp, Areas.BACKUPS)
files = Blueprint("api_backup_files", __name__)
guard_api(files, Areas.BACKUP_FILES)
BLUEPRINTS = (bp, files)

Name = Annotated[str, Field(min_length=1, max_length=64)]


class NewBackup(Body):
    """A backup to create; the passphrase encrypts the Console's keys in it."""

    name: Name
    passphrase: str = Field(default="", max_length=1024)


NameOrBackup = Name | NewBackup


class Verification(Body):
    """Options of a verification; with *restore*, a trial restore is part of it."""

    restore: bool = False


class BackupSpec(BaseModel):
    """A backup; *id* is its full file name, *verified* is null before verification."""

    id: str
    name: str
    release: str
    time: datetime
    size: int
    verified: datetime | None
    system: bool


class BackupWork(BaseModel):
    """The job in progress, null without one, and the latest result of each kind."""

    problem: str
    work: dict[str, object] | None
    results: dict[str, dict[str, object]]


@bp.get("/backups")
@ApiCall(answer=list[BackupSpec])
def listed() -> ResponseReturnValue:
    """List the backups in the volume of the primary, the newest first."""
    found = backups.get_overview()["backups"]
    answer = jsonify(found)
    answer.headers["Total-Count"] = str(len(found))
    return answer


@bp.get("/backups/progress")
@ApiCall(answer=BackupWork)
def progress() -> ResponseReturnValue:
    """Return the job in progress (phase, bytes, seconds left) and the last results."""
    overview = backups.get_overview()
    return jsonify({name: overview[name] for name in ("problem", "work", "results")})


@files.post("/backups")
@ApiCall(body=NameOrBackup)
def create() -> ResponseReturnValue:
    """Start a backup; the body is its name, or an object."""
    body = _new_backup(parse_json_body(NameOrBackup))
    backups.start_job("create", body.name, **body.model_dump())
    return "", 200


@files.get("/backups/<file>")
@ApiCall(media="application/gzip")
def download(file: str) -> Response:
    """Download a backup."""
    return backups.download(file)


@files.post("/backups/<file>")
@ApiCall(upload="application/octet-stream")
def upload(file: str) -> ResponseReturnValue:
    """Upload a backup; the body is the file itself.

    The Console verifies it before it stores it. Version and time in its name are taken
    from its content and not from the path. For a large file the answer comes before the
    end of the verification; GET /backups/progress has the result.
    """
    backups.upload(file, request.stream)
    return "", 200


@files.patch("/backups/<file>")
@ApiCall(body=Name)
def rename(file: str) -> ResponseReturnValue:
    """Rename a manual backup; the body is the new name."""
    name = _name(parse_json_body(Name))
    backups.find_backup(file)
    backups.start_job("rename", file, id=file, name=name)
    return "", 200


@files.delete("/backups/<file>")
@ApiCall()
def delete(file: str) -> ResponseReturnValue:
    """Delete a backup."""
    backups.find_backup(file)
    backups.start_job("delete", file, id=file)
    return "", 200


@files.post("/backups/<file>/restore")
@ApiCall()
def restore(file: str) -> ResponseReturnValue:
    """Start a restore; all users must log in again afterwards."""
    backups.find_backup(file)
    backups.start_job("restore", file, id=file)
    return "", 200


@files.post("/backups/<file>/verify")
@ApiCall(body=Verification, body_required=False)
def verify(file: str) -> ResponseReturnValue:
    """Start a verification, which reads the backup again and compares everything."""
    body = read_optional_json_body(Verification)
    backups.find_backup(file)
    backups.start_job("verify", file, id=file, restore=body.restore)
    return "", 200


def _new_backup(given: object) -> NewBackup:
    if isinstance(given, str):
        return NewBackup(name=_name(given))
    refuse_unknown_members(NameOrBackup, given)
    try:
        return NewBackup.model_validate(given)
    except ValidationError as error:
        raise Refused('send the name as a JSON string, or {"name": "…"}') from error


def _name(given: object) -> str:
    try:
        name: str = TypeAdapter(Name).validate_python(given)
    except ValidationError as error:
        raise Refused("send the name as a JSON string") from error
    return name
