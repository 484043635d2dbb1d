"""A rule for hosts as a form has it: one thing a line."""

from collections.abc import Iterable, Mapping

from twistlock_console.common.errors import Refused
from twistlock_console.policies.host_body import parse_policy
from twistlock_console.protocol import HostRule

EMPTY = {"hosts": "*", "everyHours": "24", "effect": "alert"}


def fields_of(rule: HostRule) -> dict[str, str]:
    """Give the fields of a form that shows *rule*."""
    paths = rule.files.paths
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
        "checks": _lines(rule.compliance.checks or ()),
        "everyHours": str(rule.compliance.every_hours),
    }


def rule_from(form: Mapping[str, str]) -> HostRule:
    """Read the fields of a form; raises Refused with what is wrong in them."""
    every = form.get("everyHours", "").strip() or "24"
    if not every.isdecimal():
        raise Refused("give the hours between two runs of the checks as a whole number")
    given = {
        "name": form.get("name", "").strip(),
        "notes": form.get("notes", "").strip(),
        "disabled": "disabled" in form,
        "hosts": _read(form, "hosts"),
        "processes": {
            "denied": _read(form, "denied"),
            "effect": form.get("effect", "alert"),
        },
        "files": {
            "paths": [
                {"path": path, "recursive": field == "folders"}
                for field in ("paths", "folders")
                for path in _read(form, field)
            ],
            "exclusions": _read(form, "exclusions"),
        },
        "compliance": {
            "checks": _read(form, "checks") or None,
            "everyHours": int(every[:6]),
        },
    }
    [rule] = parse_policy({"rules": [given]})
    return rule


def _read(form: Mapping[str, str], field: str) -> list[str]:
    lines = (line.strip() for line in form.get(field, "").splitlines())
    return [line for line in lines if line]


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(texts)
