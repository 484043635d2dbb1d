"""Rules for hosts: parsed from a form or an API body, validated and stored.

A form has text fields with one entry a line.

Names of hosts, checks and processes contain no commas, so several may be on one line.
A path may contain a comma: a line with a path is one path.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from twistlock_console.audit.trail import AuditType
from twistlock_console.common.errors import Refused
from twistlock_console.policies.host import read_rules_if_valid, write_policy
from twistlock_console.policies.host_body import parse_policy
from twistlock_console.policies.rule_errors import RuleRefused
from twistlock_console.protocol import HostRule
from twistlock_console.web.actions.audit import audited
from twistlock_console.web.common.database import database

EMPTY_FORM = {"hosts": "*", "everyHours": "24", "effect": "alert"}
#: In the field of checks: no check. An empty field means all checks.
NO_CHECK = "none"
FIELD_LABELS = {
    "name": "Name",
    "notes": "Notes",
    "hosts": "Hosts",
    "denied": "Denied processes",
    "effect": "What happens to a denied process",
    "paths": "Watched files and folders",
    "folders": "Folders watched with everything below",
    "exclusions": "Not watched",
    "checks": "Compliance checks",
    "everyHours": "Hours between two runs of the checks",
    "disabled": "Switched off",
}
#: A host or pattern; in brackets, separators belong to the pattern.
HOST_PATTERN = re.compile(r"(?:\[[^\]\n]*\]|[^\s,;])+")
NAME_SEPARATOR = re.compile(r"[\n,;]")
LINE_SEPARATOR = re.compile(r"\n")


class FieldRefused(Refused):
    """A field of a form is refused; the message begins with its label."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{FIELD_LABELS.get(field, field)}: {reason}")
        self.field = field
        self.reason = reason


def form_fields(rule: HostRule) -> dict[str, str]:
    """Return the form fields for *rule*."""
    paths, checks = rule.files.paths, rule.compliance.checks
    return {
        "name": rule.name,
        "notes": rule.notes,
        "disabled": "on" if rule.disabled else "",
        "hosts": _lines(rule.hosts),
        "denied": _lines(rule.processes.denied),
        "effect": rule.processes.effect,
        "paths": _lines(each.path for each in paths if not each.recursive),
        "folders": _lines(each.path for each in paths if each.recursive),
        "exclusions": _lines(rule.files.exclusions),
        "checks": NO_CHECK if checks == () else _lines(checks or ()),
        "everyHours": str(rule.compliance.every_hours),
    }


def parse_rule(form: Mapping[str, str], stored: HostRule | None = None) -> HostRule:
    """Return the rule in a form.

    Unknown checks are accepted: the page warned about them before.

    Args:
        form: fields of the form.
        stored: the rule that the form changes; None for a new rule.

    Raises:
        FieldRefused: a field is invalid.
        Refused: the rule is invalid for another reason.
    """
    given = _body_from(form)
    checks = _checks(form) or ()
    try:
        [rule] = parse_policy({"rules": [given]}, [stored] if stored else [], checks)
    except RuleRefused as error:
        raise FieldRefused(_field_with(error, form), error.reason) from error
    return rule


def replace_rules(given: object, owner: str) -> None:
    """Replace all stored rules for hosts by those of an API body."""
    rules = parse_policy(given, read_rules_if_valid(database()))
    change_rules(rules, owner, "changed the runtime rules for hosts")


def change_rules(
    rules: Sequence[HostRule], owner: str, action: str, seen: int | None = None
) -> None:
    """Store the rules for hosts and record the change.

    Args:
        rules: all rules, in their order.
        owner: user who changes them.
        action: the action for the audit trail, in the past tense.
        seen: version that the user saw; a newer stored version is refused.
    """
    with audited(AuditType.RULE, action) as change:
        old, new = write_policy(database(), rules, owner, seen)
        change.old, change.new = old.to_json(), new.to_json()


def _body_from(form: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": form.get("name", "").strip(),
        "notes": form.get("notes", "").replace("\r\n", "\n").strip(),
        "disabled": bool(form.get("disabled")),
        "hosts": HOST_PATTERN.findall(form.get("hosts", "")),
        "processes": {
            "denied": _processes(form),
            "effect": form.get("effect", "alert"),
        },
        "files": {
            "paths": [
                {"path": path, "recursive": field == "folders"}
                for field in ("paths", "folders")
                for path in _entries(form, field, LINE_SEPARATOR)
            ],
            "exclusions": _entries(form, "exclusions", LINE_SEPARATOR),
        },
        "compliance": {
            "checks": _checks(form),
            "everyHours": _hours(form),
        },
    }


def _checks(form: Mapping[str, str]) -> list[str] | None:
    """Return the checks in the field; None for all checks."""
    checks = _entries(form, "checks", NAME_SEPARATOR)
    return [] if checks == [NO_CHECK] else checks or None


def _hours(form: Mapping[str, str]) -> int:
    every = form.get("everyHours", "").strip() or EMPTY_FORM["everyHours"]
    if not (every.isascii() and every.isdecimal()):
        raise FieldRefused("everyHours", "give a whole number")
    return int(every[:6])


def _processes(form: Mapping[str, str]) -> list[str]:
    """Split lines of names at commas; a line with a path is one entry."""
    return [
        entry
        for line in _entries(form, "denied", LINE_SEPARATOR)
        for entry in ([line] if "/" in line else _split(line, NAME_SEPARATOR))
    ]


def _field_with(error: RuleRefused, form: Mapping[str, str]) -> str:
    """Return the name of the field with the member that *error* is about."""
    match error.member:
        case ("files", "paths", int(place), *_):
            paths = _entries(form, "paths", LINE_SEPARATOR)
            return "paths" if place < len(paths) else "folders"
        case ("processes" | "files" | "compliance", name, *_) | (name, *_):
            return str(name)
        case _:
            return "name"


def _entries(
    form: Mapping[str, str], field: str, between: re.Pattern[str]
) -> list[str]:
    return _split("\n".join(form.get(field, "").splitlines()), between)


def _split(text: str, between: re.Pattern[str]) -> list[str]:
    stripped = (part.strip() for part in between.split(text))
    return [part for part in stripped if part]


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)
