"""Compute the hosts that each rule applies to, and find shadowed rules. Pure.

To a host, the first enabled rule that matches its name applies. A rule after another
that matches the same hosts is shadowed: it is never enforced.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

from twistlock_console.protocol import HostRule


@dataclass(frozen=True, slots=True)
class RuleReach:
    """The reach of one rule within the policy.

    Attributes:
        rule: the rule.
        matched: the known hosts that its patterns match.
        applied: the known hosts that it applies to.
        shadowed_by: the earlier rules that leave it no host; empty if it has hosts.

    """

    rule: HostRule
    matched: tuple[str, ...]
    applied: tuple[str, ...]
    shadowed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the rule."""
        return self.rule.name

    @property
    def is_shadowed(self) -> bool:
        """Return whether earlier rules leave it no host."""
        return bool(self.shadowed_by)


def reach_of_rules(
    rules: Sequence[HostRule], hosts: Sequence[str]
) -> tuple[RuleReach, ...]:
    """Return the reach of each of *rules* over *hosts*, the names of known hosts."""
    patterns = [_compile(rule) for rule in rules]
    first = {host: _first(host, rules, patterns) for host in hosts}
    found = []
    for place, rule in enumerate(rules):
        matched = tuple(h for h in hosts if patterns[place].match(h.lower()))
        applied = tuple(host for host in matched if first[host] == place)
        winners = {first[host] for host in matched}
        by_hosts = _names(rules, winners) if matched and not applied else ()
        by_patterns = _covering_rules(rules, place)
        shadowed_by = () if rule.disabled else by_patterns or by_hosts
        found.append(RuleReach(rule, matched, applied, shadowed_by))
    return tuple(found)


def newly_shadowed(
    before: Sequence[RuleReach], after: Sequence[RuleReach], but: str
) -> tuple[str, ...]:
    """Return the rules except *but* that are shadowed *after* and not *before*."""
    known = {reach.name for reach in before if reach.is_shadowed}
    return tuple(
        reach.name
        for reach in after
        if reach.is_shadowed and reach.name not in known and reach.name != but
    )


def covers(pattern: str, other: str) -> bool:
    """Return whether *pattern* matches every name that *other* matches.

    Return False if the two patterns alone do not prove it.
    """
    pattern, other = pattern.lower(), other.lower()
    if pattern == other or not pattern.strip("*"):
        return True
    if "?" in pattern or "[" in pattern:
        return False
    # The pattern now has letters and * alone, and only * matches every text that a
    # wildcard of the other pattern may stand for.
    return "[" not in other and fnmatchcase(other, pattern)


def _covering_rules(rules: Sequence[HostRule], place: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    earlier = [rule for rule in rules[:place] if not rule.disabled]
    for pattern in rules[place].hosts:
        covering = (r.name for r in earlier if any(covers(p, pattern) for p in r.hosts))
        name = next(covering, None)
        if name is None:
            return ()
        found[name] = None
    return tuple(found)


def _names(rules: Sequence[HostRule], places: set[int | None]) -> tuple[str, ...]:
    return tuple(
        rules[place].name for place in sorted(p for p in places if p is not None)
    )


def _first(
    host: str, rules: Sequence[HostRule], patterns: Sequence[re.Pattern[str]]
) -> int | None:
    name = host.lower()
    return next(
        (
            place
            for place, rule in enumerate(rules)
            if not rule.disabled and patterns[place].match(name)
        ),
        None,
    )


def _compile(rule: HostRule) -> re.Pattern[str]:
    """Combine the host patterns of *rule* into one regular expression."""
    return re.compile("|".join(translate(pattern.lower()) for pattern in rule.hosts))
