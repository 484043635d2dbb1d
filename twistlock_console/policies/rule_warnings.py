"""Warn that a rule enforces less than expected, before and after saving. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from twistlock_console.policies.host_body import entries_of, unknown_check_sentence
from twistlock_console.policies.rule_reach import RuleReach
from twistlock_console.protocol import CHECKS, HostRule

MAX_LISTED = 5


@dataclass(frozen=True, slots=True)
class RuleWarning:
    """A warning about a probable mistake; *field* is the field of the form."""

    field: str
    sentence: str


def warnings_about(
    reach: RuleReach,
    *,
    known_hosts: int,
    was_disabled: bool,
    newly_shadowed: Sequence[str],
) -> tuple[RuleWarning, ...]:
    """Return the warnings to confirm before the rule of *reach* is saved.

    *newly_shadowed* are the rules that it would leave no host.
    """
    return (
        *_about_hosts(reach, known_hosts),
        *_about_state(reach, was_disabled=was_disabled),
        *_about_others(newly_shadowed),
        *_about_entries(reach.rule),
        *_about_nothing(reach.rule),
    )


def _about_hosts(reach: RuleReach, known_hosts: int) -> Iterator[RuleWarning]:
    if known_hosts and not reach.matched:
        of_all = f"none of the {known_hosts} Defenders"
        which = of_all if known_hosts > 1 else "the only Defender does not"
        verb = "matches" if known_hosts > 1 else "match"
        yield RuleWarning(
            "hosts",
            f"{which} {verb} {format_list(reach.rule.hosts)}: the rule would apply to "
            "no host",
        )
    elif reach.is_shadowed:
        yield RuleWarning("hosts", f"{shadow_sentence(reach)}, and would apply to none")


def _about_state(reach: RuleReach, *, was_disabled: bool) -> Iterator[RuleWarning]:
    if reach.rule.disabled and not was_disabled:
        yield RuleWarning("disabled", "the rule is off: it would apply to no host")


def _about_others(shadowed: Sequence[str]) -> Iterator[RuleWarning]:
    if shadowed:
        one = len(shadowed) == 1
        yield RuleWarning(
            "hosts",
            f"the rule comes before {format_list(shadowed)} and matches the same "
            f"hosts: {'that rule' if one else 'those rules'} would apply to no host "
            "any more",
        )


def _about_entries(rule: HostRule) -> Iterator[RuleWarning]:
    for path, entry in entries_of(rule):
        match path:
            case ("compliance", "checks", _) if entry not in CHECKS:
                yield RuleWarning(
                    "checks", f"{unknown_check_sentence(entry)}: nothing would run"
                )
            case ("processes", "denied", _) if "," in entry:
                yield RuleWarning("denied", _comma(entry))
            case ("files", "exclusions", _) if "," in entry:
                yield RuleWarning("exclusions", _comma(entry))
            case ("files", "paths", int(place), "path"):
                recursive = rule.files.paths[place].recursive
                field = "folders" if recursive else "paths"
                yield from _about_watched_path(field, entry)
            case _:
                pass


def _about_watched_path(field: str, path: str) -> Iterator[RuleWarning]:
    if "," in path:
        yield RuleWarning(field, _comma(path))
    if "*" in path or "?" in path:
        yield RuleWarning(
            field,
            f"{path!r} is a path with * or ? in its name, and no pattern; to watch "
            "what is in a folder, write the folder",
        )


def _comma(entry: str) -> str:
    return (
        f"{entry!r} is one path with a comma in it; if several are meant, write each "
        "on a line of its own"
    )


def _about_nothing(rule: HostRule) -> Iterator[RuleWarning]:
    checks = rule.compliance.checks
    if not (rule.processes.denied or rule.files.paths) and checks == ():
        yield RuleWarning(
            "name", "the rule denies no process, watches no file and runs no check"
        )


def saved_sentence(reach: RuleReach, known_hosts: int) -> str:
    """Return the sentence that describes the effect of a saved rule."""
    name = reach.name
    if reach.rule.disabled:
        return f"The rule {name} is saved. It is off and applies to no host"
    if reach.is_shadowed:
        return f"The rule {name} is saved, but {shadow_sentence(reach)}"
    if not reach.applied:
        none = "No Defender is deployed yet" if not known_hosts else "No Defender"
        rest = "; it" if not known_hosts else " matches it yet; it"
        return f"The rule {name} is saved. {none}{rest} applies to those that come"
    count = len(reach.applied)
    hosts = format_list(reach.applied)
    several = f"{count} of {known_hosts} hosts" if count > 1 else "1 host"
    return (
        f"The rule {name} is saved and applies to {several}: {hosts}. Connected "
        "Defenders get it within a second"
    )


def shadow_sentence(reach: RuleReach) -> str:
    """Return a sentence with the rules that shadow the rule of *reach*."""
    rules = format_list(reach.shadowed_by)
    one = len(reach.shadowed_by) == 1
    kind, verb = ("rule", "comes") if one else ("rules", "come")
    match_ = "matches" if one else "match"
    return f"the {kind} {rules} {verb} before it and {match_} the same hosts"


def format_list(names: Sequence[str]) -> str:
    """Return the first MAX_LISTED of *names*, and the number of the others."""
    shown = ", ".join(names[:MAX_LISTED])
    more = len(names) - MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
