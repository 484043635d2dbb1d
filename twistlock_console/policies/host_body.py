"""Validate a host policy that a client sends, more strictly than the protocol. Pure.

A Defender ignores unknown members, because its Console may be newer. A client that
sends a policy must be able to rely on all of it being enforced.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from twistlock_console.common.errors import Refused
from twistlock_console.common.json_members import (
    Path,
    closed_schema,
    closest_match,
    find_unknown_members,
)
from twistlock_console.policies.rule_errors import (
    RuleRefused,
    refuse_invalid,
    refuse_unknown,
)
from twistlock_console.protocol import CHECKS, HostPolicy, HostRule
from twistlock_console.protocol.bounds import WIRE

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: One of several characters, as in [12] or [!a-z].
BRACKETS = re.compile(r"\[!?\]?[^\]]*\]")
#: Characters that no name of a Defender has, and so no pattern of host names.
NOT_IN_HOSTS = re.compile(r"[^A-Za-z0-9._\-*?]")


@dataclass(frozen=True, slots=True)
class HostPolicyBody(HostPolicy):
    """All rules in their order, with an optional *_id* for compatible clients.

    Other members are errors: a client must not believe that they are enforced.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        **WIRE, json_schema_extra={"required": ["rules"]}
    )
    id: Annotated[Literal["hostRuntime"] | None, Field(alias="_id")] = None


_body: TypeAdapter[HostPolicyBody] = TypeAdapter(HostPolicyBody)


def parse_policy(
    given: object, stored: Sequence[HostRule] = (), kept: Iterable[str] = ()
) -> tuple[HostRule, ...]:
    """Parse the rules that a client sent.

    Entries that *stored* rules have, and those in *kept*, are accepted as they are: a
    client may send back what it got, whatever was allowed when it was stored.

    Raises:
        Refused: a rule is invalid; the message names the rule and the mistake.

    """
    if not isinstance(given, dict) or "rules" not in given:
        raise Refused('send {"rules": [...]}, with every rule that shall be in force')
    if unknown := find_unknown_members(closed_schema(HostPolicyBody), given):
        raise refuse_unknown(unknown, given)
    try:
        # As JSON: true is no number there, and "no" neither true nor false.
        rules = _body.validate_json(json.dumps(given), strict=True).rules
    except ValidationError as error:
        raise refuse_invalid(error, given) from error
    known = {entry for rule in stored for _, entry in entries_of(rule)}.union(kept)
    for rule in rules:
        _check_entries(rule, known)
    return rules


def entries_of(rule: HostRule) -> Iterator[tuple[Path, str]]:
    """Yield the entries of all lists of *rule*, each with its path in the rule."""
    lists: tuple[tuple[Path, Sequence[str]], ...] = (
        (("hosts",), rule.hosts),
        (("processes", "denied"), rule.processes.denied),
        (("files", "exclusions"), rule.files.exclusions),
        (("compliance", "checks"), rule.compliance.checks or ()),
    )
    for path, entries in lists:
        yield from (((*path, place), entry) for place, entry in enumerate(entries))
    for place, watched in enumerate(rule.files.paths):
        yield ("files", "paths", place, "path"), watched.path


def _check_entries(rule: HostRule, known: set[str]) -> None:
    """Raise RuleRefused for entries that can match nothing and so enforce nothing.

    The types of the protocol do not check this: rules that were stored earlier must
    remain readable.
    """
    for path, entry in entries_of(rule):
        fault = entry_problem(path, entry)
        if fault and (entry not in known or CONTROL.search(entry)):
            raise RuleRefused(f"rule {rule.name!r}", path, fault)


def entry_problem(path: Path, entry: str) -> str | None:
    """Return why *entry* of the list at *path* can match nothing; None if it can."""
    if CONTROL.search(entry):
        return (
            f"{entry!r} holds a control character; put * in the place of it in a "
            "pattern, or leave it out"
        )
    match path[:2]:
        case ("hosts", _):
            return _host_pattern_problem(entry)
        case ("processes", "denied") if "/" not in entry:
            return _process_name_problem(entry)
        case ("files", "exclusions") if not entry.startswith(("/", "*")):
            return f"{entry!r} is not an absolute path; begin it with /"
        case ("compliance", "checks") if entry not in CHECKS:
            return f"{unknown_check_sentence(entry)}; there are {', '.join(CHECKS)}"
        case _:
            return None


def unknown_check_sentence(entry: str) -> str:
    """Return a sentence that there is no check *entry*, with a likely correction."""
    near = closest_match(entry, tuple(CHECKS))
    return f"there is no check {entry!r}" + (
        f" (did you mean {near!r}?)" if near else ""
    )


def _host_pattern_problem(entry: str) -> str | None:
    found = NOT_IN_HOSTS.search(BRACKETS.sub("", entry))
    if found is None:
        return None
    return (
        f"{entry!r} matches no host: no host has {found[0]!r} in its name; give each "
        "host, or pattern with *, ? and [12], an entry of its own"
    )


def _process_name_problem(entry: str) -> str | None:
    if "," in entry:
        return (
            f"{entry!r} is one name with a comma in it; give each process an entry of "
            "its own, or put ? in the place of a comma that is part of a name"
        )
    if entry != entry.strip():
        return (
            f"{entry!r} begins or ends with a blank; remove it, or put ? in the place "
            "of a blank that is part of the name"
        )
    return None
