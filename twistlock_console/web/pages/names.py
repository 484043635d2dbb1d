"""Manage > Defenders > Names: under which names Defenders reach the Console."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.certificate_renewal.names import read_names
from twistlock_console.common.errors import Refused
from twistlock_console.web.actions.defenders import change_names, shown_names
from twistlock_console.web.common.database import database
from twistlock_console.web.security.guards import pages_for

bp = Blueprint("names", __name__, url_prefix="/manage/defenders/names")
pages_for(bp, Areas.DEFENDER_NAMES)


@bp.get("")
def listed() -> ResponseReturnValue:
    """Show the names."""
    return render_template("names.html", names=shown_names())


@bp.post("/add")
def add() -> ResponseReturnValue:
    """Add a name."""
    name = request.form.get("name", "").strip()
    try:
        change_names([*read_names(database()), name])
    except Refused as error:
        flash(str(error), "error")
        return redirect(url_for(".listed", name=name[:253]), 303)
    return _done(f"The name {name} is added.")


@bp.post("/remove")
def remove() -> ResponseReturnValue:
    """Take a name out."""
    name = request.form.get("name", "")
    names = read_names(database())
    if name not in names:
        flash(f"there is no name {name[:100]!r} in the list", "error")
        return redirect(url_for(".listed"), 303)
    try:
        change_names([each for each in names if each != name])
    except Refused as error:
        flash(str(error), "error")
        return redirect(url_for(".listed"), 303)
    return _done(f"The name {name} is removed.")


def _done(told: str) -> ResponseReturnValue:
    flash(f"{told} All nodes renew their certificates within seconds.")
    return redirect(url_for(".listed"), 303)
