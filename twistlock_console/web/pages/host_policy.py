"""Defend > Runtime > Host policy: the ordered list of rules."""

from collections.abc import Callable
from dataclasses import replace

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.policies.host import read_policy
from twistlock_console.protocol import HostRule
from twistlock_console.web.actions.defenders import change_rules
from twistlock_console.web.actions.rule_form import EMPTY, fields_of, rule_from
from twistlock_console.web.common.database import database
from twistlock_console.web.security.pages import pages_for
from twistlock_console.web.security.sessions import current_username

bp = Blueprint("host_policy", __name__, url_prefix="/defend/runtime/host")
pages_for(bp, Areas.POLICIES)
Rules = tuple[HostRule, ...]


@bp.get("")
def rules() -> ResponseReturnValue:
    """Show the rules in their order."""
    return render_template("host_policy.html", policy=read_policy(database()))


@bp.get("/rule")
def rule() -> ResponseReturnValue:
    """Show the form of a rule, or of a new one."""
    name = request.args.get("name", "")
    policy = read_policy(database())
    found = next((each for each in policy.rules if each.name == name), None)
    fields = fields_of(found) if found else EMPTY
    return _form(fields, policy.version, name if found else "")


@bp.post("/rule")
def save() -> ResponseReturnValue:
    """Put the rule of a form in force, in its old place or as the first."""
    before = request.form.get("before", "")
    name = request.form.get("name", "")

    def changed(present: Rules) -> Rules:
        new = rule_from(request.form)
        if not before:
            return (new, *present)
        here = _place(present, "before")
        return (*present[:here], new, *present[here + 1 :])

    try:
        _change(changed, f"saved the host rule {name}")
    except Refused as error:
        return _form(request.form.to_dict(), _seen(), before, str(error)), 400
    flash(f"The rule {name} is in force; Defenders get it within a second.")
    return redirect(url_for(".rules"), 303)


@bp.post("/move")
def move() -> ResponseReturnValue:
    """Move a rule up or down by one."""
    step = -1 if request.form.get("to") == "up" else 1

    def changed(present: Rules) -> Rules:
        order = list(present)
        place = _place(present)
        there = min(max(place + step, 0), len(order) - 1)
        order.insert(there, order.pop(place))
        return tuple(order)

    return _done(changed, "changed the order of the host rules")


@bp.post("/switch")
def switch() -> ResponseReturnValue:
    """Switch a rule off, or on again."""

    def changed(present: Rules) -> Rules:
        here = _place(present)
        other = replace(present[here], disabled=not present[here].disabled)
        return (*present[:here], other, *present[here + 1 :])

    return _done(changed, f"switched the host rule {request.form.get('name')}")


@bp.post("/delete")
def delete() -> ResponseReturnValue:
    """Delete a rule."""

    def changed(present: Rules) -> Rules:
        here = _place(present)
        return (*present[:here], *present[here + 1 :])

    return _done(changed, f"deleted the host rule {request.form.get('name')}")


def _done(changed: Callable[[Rules], Rules], told: str) -> ResponseReturnValue:
    try:
        _change(changed, told)
    except Refused as error:
        flash(str(error), "error")
    return redirect(url_for(".rules"), 303)


def _change(changed: Callable[[Rules], Rules], told: str) -> None:
    present = read_policy(database())
    change_rules(changed(present.rules), current_username(), told, _seen())


def _seen() -> int:
    """The version that the page was made from; none is as good as an old one."""
    given = request.form.get("version", "")
    return int(given[:12]) if given.isdecimal() else -1


def _place(present: Rules, member: str = "name") -> int:
    names = [each.name for each in present]
    name = request.form.get(member, "")
    if name not in names:
        raise Refused(f"there is no rule {name!r} any more")
    return names.index(name)


def _form(fields: dict[str, str], version: int, before: str, error: str = "") -> str:
    return render_template(
        "host_rule.html", fields=fields, version=version, before=before, error=error
    )
