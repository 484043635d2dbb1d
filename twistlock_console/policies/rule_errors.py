"""Describe mistakes in rules that a client sent, by rule and member. Pure."""

from pydantic import ValidationError

from twistlock_console.common.errors import Refused
from twistlock_console.common.json_members import (
    Path,
    UnknownMembers,
    format_path,
    plain_reason,
)

#: Members of rules in the API that ours is modelled on, which this Console does not
#: enforce. A rule without them would still match its hosts and shadow later rules.
NOT_ENFORCED = frozenset(
    {
        "advancedProtection",
        "advancedProtectionEffect",
        "antiMalware",
        "cloudMetadataEnforcementEffect",
        "collections",
        "customRules",
        "dns",
        "fileIntegrityRules",
        "filesystem",
        "forensic",
        "kubernetesEnforcement",
        "logInspectionRules",
        "network",
        "previousName",
        "wildFireAnalysis",
    }
)


class RuleRefused(Refused):
    """A rule is invalid: *member* is the path of the mistake, *reason* describes it."""

    def __init__(self, rule: str, member: Path, reason: str) -> None:
        place = f"{format_path(member)}: " if member else ""
        super().__init__(f"{rule}: {place}{reason}")
        self.member = member
        self.reason = reason


def refuse_invalid(error: ValidationError, given: object) -> Refused:
    """Return the refusal of *given* for the first mistake in it."""
    first = error.errors(include_url=False, include_input=False)[0]
    reason = plain_reason(first["msg"])
    match first["loc"]:
        case ("rules", int(place), *member):
            return RuleRefused(named_rule(given, place), tuple(member), reason)
        case path:
            return Refused(f"{format_path(path)}: {reason}" if path else reason)


def refuse_unknown(unknown: UnknownMembers, given: object) -> Refused:
    """Return the refusal of unknown members of a policy or of a rule in it."""
    match unknown.path:
        case ("rules", int(place), *member):
            inner = UnknownMembers(tuple(member), unknown.names, unknown.accepted)
            return Refused(f"{named_rule(given, place)}: {_say(inner)}")
        case _:
            return Refused(_say(unknown))


def _say(unknown: UnknownMembers) -> str:
    others = [name for name in unknown.names if name in NOT_ENFORCED]
    if unknown.path or not others:
        return unknown.sentence
    return (
        f"this Console does not enforce {', '.join(others)}; take it out of the rule; "
        f"{unknown.accepted_sentence}"
    )


def named_rule(given: object, place: int) -> str:
    """Return the name of the rule at *place* in *given*, or its number if unnamed."""
    match given:
        case {"rules": [*rules]} if place < len(rules):
            match rules[place]:
                case {"name": str(name)} if name:
                    return f"rule {name!r}"
    return f"rule number {place + 1}"
