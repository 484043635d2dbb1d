"""Manage > System > Backup & Restore."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.web.actions import backups
from twistlock_console.web.security.guards import guard_pages, may_change

PREFIX = "/manage/system/backups"
bp = Blueprint("backups", __name__, url_prefix=PREFIX)
guard_pages(bp, Areas.BACKUPS)
files = Blueprint("backup_files", __name__, url_prefix=PREFIX)
guard_pages(files, Areas.BACKUP_FILES)
BLUEPRINTS = (bp, files)


@bp.get("")
def listed() -> ResponseReturnValue:
    """Show the backups and the job in progress."""
    return _render("backups.html")


@bp.get("/live")
def live() -> ResponseReturnValue:
    """Show the part of the page that refreshes itself."""
    return _render("backups_live.html")


@files.post("/create")
def create() -> ResponseReturnValue:
    """Start a backup."""
    name = request.form.get("name", "")
    secret = request.form.get("passphrase", "")
    try:
        backups.start_job("create", name, name=name, passphrase=secret)
    except Refused as error:
        return _render("backups.html", error=str(error)), 400
    except ConsoleError as error:
        flash(str(error), "error")
    else:
        flash(f"The backup {name} is being created.")
    return redirect(url_for("backups.listed"), 303)


@files.get("/download")
def download() -> ResponseReturnValue:
    """Download a backup."""
    return backups.download(request.args.get("id", ""))


@files.post("/upload")
def upload() -> ResponseReturnValue:
    """Store a backup from the user's computer."""

    def take() -> str:
        sent = request.files.get("file")
        if sent is None or not sent.filename:
            raise Refused("choose a file first")
        taken = backups.upload(sent.filename, sent.stream)
        if taken.is_stored:
            return f"The backup was uploaded and is stored as {taken.file}."
        return f"The backup {taken.file} was uploaded and is being verified."

    return _flash_outcome(take)


@files.get("/one")
def details() -> ResponseReturnValue:
    """Show the actions for one backup."""
    found = backups.find_backup(request.args.get("id", ""))
    return render_template("backup.html", backup=found)


@files.post("/restore")
def restore() -> ResponseReturnValue:
    """Start a restore."""
    return _start_job("restore", "is being restored. Log in again afterwards.")


@files.post("/verify")
def verify() -> ResponseReturnValue:
    """Start a verification."""
    trial = "restore" in request.form
    return _start_job("verify", "is being verified.", restore=trial)


@files.post("/rename")
def rename() -> ResponseReturnValue:
    """Rename a backup."""
    file, name = request.form.get("id", ""), request.form.get("name", "")
    found = backups.find_backup(file)
    try:
        backups.start_job("rename", file, id=file, name=name)
    except Refused as error:
        page = render_template("backup.html", backup=found, error=str(error))
        return page, 400
    flash(f"The backup {file} was renamed.")
    return redirect(url_for("backups.listed"), 303)


@files.post("/delete")
def delete() -> ResponseReturnValue:
    """Delete a backup."""
    return _start_job("delete", "was deleted.")


def _start_job(verb: str, message: str, **body: object) -> ResponseReturnValue:
    file = request.form.get("id", "")
    return _flash_message(
        lambda: backups.start_job(verb, file, id=file, **body),
        f"The backup {file} {message}",
    )


def _flash_message(act: Callable[[], object], message: str) -> ResponseReturnValue:
    def done() -> str:
        act()
        return message

    return _flash_outcome(done)


def _flash_outcome(act: Callable[[], str]) -> ResponseReturnValue:
    """Flash the sentence that *act* returns, or its error, and show all backups."""
    try:
        flash(act())
    except ConsoleError as error:
        flash(str(error), "error")
    return redirect(url_for("backups.listed"), 303)


def _render(template: str, error: str = "") -> str:
    overview = backups.get_overview()
    may_act = may_change("backup_files")
    return render_template(template, overview=overview, may_act=may_act, error=error)
