"""Which blueprint belongs to which area, and the one place that refuses."""

from typing import cast

from flask import Blueprint, Flask, request
from flask.blueprints import BlueprintSetupState

from twistlock_console.accounts.errors import NotAllowed
from twistlock_console.accounts.rights import Area, may
from twistlock_console.accounts.users import User
from twistlock_console.web.security.sessions import SAFE


def areas_of(app: Flask) -> dict[str, Area]:
    """Give the area of each blueprint that has one, by the blueprint's name."""
    return cast(dict[str, Area], app.extensions.setdefault("areas", {}))


def assign(bp: Blueprint, area: Area) -> None:
    """Let all of *bp*, pages or API calls, belong to *area*."""

    def note(state: BlueprintSetupState) -> None:
        areas_of(cast(Flask, state.app))[bp.name] = area

    bp.record_once(note)


def check_right(user: User, area: Area) -> None:
    """Raise NotAllowed unless *user* may do in *area* what this request asks for."""
    if not may(user.role, area, change=request.method not in SAFE):
        raise NotAllowed
