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
    """A backup to make; the passphrase encrypts the Console's keys in it."""

    name: Name
    passphrase: str = Field(default="", max_length=1024)


NameOrBackup = Name | NewBackup


class Verification(Body):
    """How a backup is verified; with *restore* it is restored for a trial as well."""

    restore: bool = False


class BackupSpec(BaseModel):
    """A backup; *id* is its full file name, *verified* is null until it has been."""

    id: str
    name: str
    release: str
    time: datetime
    size: int
    verified: datetime | None
    system: bool


class BackupWork(BaseModel):
    """What is under way, if anything is, and how the latest work of each kind ended."""

    problem: str
    work: dict[str, object] | None
    results: dict[str, dict[str, object]]


@bp.get("/backups")
@ApiCall(answer=list[BackupSpec])
def listed() -> ResponseReturnValue:
    """List the backups in the volume of the node that serves, the newest first."""
    found = backups.get_overview()["backups"]
    answer = jsonify(found)
    answer.headers["Total-Count"] = str(len(found))
    return answer


@bp.get("/backups/progress")
@ApiCall(answer=BackupWork)
def progress() -> ResponseReturnValue:
    """Tell what is under way: phase, bytes, seconds left; and how the last ended."""
    overview = backups.get_overview()
    return jsonify({name: overview[name] for name in ("problem", "work", "results")})


@files.post("/backups")
@ApiCall(body=NameOrBackup)
def create() -> ResponseReturnValue:
    """Begin to make a backup; the body is its name, or an object."""
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

    It is verified before it is taken. Version and time in its name follow from its
    content, whatever they are in the path. A large one is still being verified when
    this answers; GET /backups/progress tells how it ended.
    """
    backups.upload(file, request.stream)
    return "", 200


@files.patch("/backups/<file>")
@ApiCall(body=Name)
def rename(file: str) -> ResponseReturnValue:
    """Give a manual backup another name; the body is the name."""
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
    """Begin to put a backup in force; everybody has to log in again then."""
    backups.find_backup(file)
    backups.start_job("restore", file, id=file)
    return "", 200


@files.post("/backups/<file>/verify")
@ApiCall(body=Verification, body_required=False)
def verify(file: str) -> ResponseReturnValue:
    """Begin to read a backup again and compare everything."""
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
