"""Defend > Runtime > Host policy: the ordered list of rules."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from twistlock_console.accounts.rights import Areas
from twistlock_console.common.errors import Refused
from twistlock_console.policies.host import read_policy
from twistlock_console.policies.rule_reach import (
    newly_shadowed,
    reach_of_rules,
)
from twistlock_console.policies.rule_warnings import (
    RuleWarning,
    saved_sentence,
    warnings_about,
)
from twistlock_console.protocol import CHECKS, HostRule
from twistlock_console.web.actions.defenders import defender_names
from twistlock_console.web.actions.rules import (
    EMPTY_FORM,
    FIELD_LABELS,
    FieldRefused,
    change_rules,
    form_fields,
    parse_rule,
)
from twistlock_console.web.common.database import database
from twistlock_console.web.security.guards import guard_pages
from twistlock_console.web.security.sessions import current_username

bp = Blueprint("host_policy", __name__, url_prefix="/defend/runtime/host")
guard_pages(bp, Areas.POLICIES)
BLUEPRINTS = (bp,)
Rules = tuple[HostRule, ...]


@bp.get("")
def rules() -> ResponseReturnValue:
    """Show the rules in their order, with the number of hosts of each."""
    policy = read_policy(database())
    names = defender_names()
    return render_template(
        "host_policy.html",
        policy=policy,
        reaches=reach_of_rules(policy.rules, names),
        deployed=len(names),
    )


@bp.get("/rule")
def rule() -> ResponseReturnValue:
    """Show the form of a rule; without a name, of a new one."""
    name = request.args.get("name", "")
    policy = read_policy(database())
    found = _find_rule(policy.rules, name)
    fields = form_fields(found) if found else EMPTY_FORM
    return _render_form(fields, policy.version, name if found else "")


@bp.post("/rule")
def save() -> ResponseReturnValue:
    """Store the rule of a form in its old place; a new rule becomes the first.

    A rule with warnings is shown again, and stored when the user confirms them.
    """
    before = request.form.get("before", "")
    present = read_policy(database())
    try:
        new = parse_rule(request.form, _find_rule(present.rules, before))
        changed, place = _insert_rule(present.rules, new, before)
        names = defender_names()
        warnings = _warnings(present.rules, changed, place, names)
        if warnings and request.form.get("confirmed") != _warnings_token(warnings):
            return _render_form(
                form_fields(new), _form_version(), before, warnings=warnings
            ), 400
        change_rules(
            changed,
            current_username(),
            f"saved the host rule {new.name}",
            _form_version(),
        )
    except Refused as error:
        fields = request.form.to_dict()
        return _render_form(fields, present.version, before, error=error), 400
    flash(saved_sentence(reach_of_rules(changed, names)[place], len(names)))
    return redirect(url_for(".rules"), 303)


@bp.post("/move")
def move() -> ResponseReturnValue:
    """Move a rule up or down by one."""
    step = -1 if request.form.get("to") == "up" else 1

    def changed(present: Rules) -> Rules:
        order = list(present)
        place = _rule_index(present)
        there = min(max(place + step, 0), len(order) - 1)
        order.insert(there, order.pop(place))
        return tuple(order)

    return _apply_change(changed, "changed the order of the host rules")


@bp.post("/switch")
def switch() -> ResponseReturnValue:
    """Switch a rule off or on."""

    def changed(present: Rules) -> Rules:
        here = _rule_index(present)
        other = replace(present[here], disabled=not present[here].disabled)
        return (*present[:here], other, *present[here + 1 :])

    return _apply_change(changed, f"switched the host rule {request.form.get('name')}")


@bp.post("/delete")
def delete() -> ResponseReturnValue:
    """Delete a rule."""

    def changed(present: Rules) -> Rules:
        here = _rule_index(present)
        return (*present[:here], *present[here + 1 :])

    return _apply_change(changed, f"deleted the host rule {request.form.get('name')}")


def _apply_change(
    changed: Callable[[Rules], Rules], action: str
) -> ResponseReturnValue:
    """Change the rules, and show the effect on the rule in the form."""
    name = request.form.get("name", "")
    try:
        after = changed(read_policy(database()).rules)
        change_rules(after, current_username(), action, _form_version())
    except Refused as error:
        flash(str(error), "error")
    else:
        names = defender_names()
        reaches = reach_of_rules(after, names)
        here = next((each for each in reaches if each.name == name), None)
        deleted = f"The rule {name} is deleted"
        flash(saved_sentence(here, len(names)) if here else deleted)
    return redirect(url_for(".rules"), 303)


def _insert_rule(present: Rules, new: HostRule, before: str) -> tuple[Rules, int]:
    """Return the rules with *new* in place of *before*, and its index."""
    if not before:
        return (new, *present), 0
    here = _rule_index(present, "before")
    return (*present[:here], new, *present[here + 1 :]), here


def _warnings(
    present: Rules, changed: Rules, place: int, names: Sequence[str]
) -> tuple[RuleWarning, ...]:
    after = reach_of_rules(changed, names)
    old = _find_rule(present, request.form.get("before", ""))
    return warnings_about(
        after[place],
        known_hosts=len(names),
        was_disabled=old is not None and old.disabled,
        newly_shadowed=newly_shadowed(
            reach_of_rules(present, names), after, changed[place].name
        ),
    )


def _warnings_token(warnings: Sequence[RuleWarning]) -> str:
    """Return a hash of the warnings, so that a user confirms only what was shown."""
    sentences = "\n".join(each.sentence for each in warnings)
    return hashlib.sha256(sentences.encode()).hexdigest()[:32]


def _find_rule(present: Rules, name: str) -> HostRule | None:
    return next((each for each in present if each.name == name), None)


def _form_version() -> int:
    """Return the version of the rules that the form shows; -1 without one."""
    given = request.form.get("version", "")
    return int(given[:12]) if given.isdecimal() else -1


def _rule_index(present: Rules, member: str = "name") -> int:
    names = [each.name for each in present]
    name = request.form.get(member, "")
    if name not in names:
        raise Refused(f"there is no rule {name!r} any more")
    return names.index(name)


def _render_form(
    fields: Mapping[str, str],
    version: int,
    before: str,
    *,
    error: Refused | None = None,
    warnings: Sequence[RuleWarning] = (),
) -> str:
    wrong = {error.field: error.reason} if isinstance(error, FieldRefused) else {}
    for warning in warnings:
        wrong.setdefault(warning.field, warning.sentence)
    return render_template(
        "host_rule.html",
        fields=fields,
        version=version,
        before=before,
        error=str(error) if error else "",
        warnings=warnings,
        token=_warnings_token(warnings) if warnings else "",
        wrong=wrong,
        labels=FIELD_LABELS,
        checks=CHECKS,
    )
