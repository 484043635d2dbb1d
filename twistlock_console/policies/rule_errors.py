"""Says what is wrong with rules that somebody sent, naming the rule and the member."""

from pydantic import ValidationError

from twistlock_console.common.errors import Refused
from twistlock_console.common.json_members import (
    Path,
    UnknownMembers,
    format_path,
    plain_reason,
)

#: Members of a rule in the API that ours is modelled on, which do nothing here. Without
#: them such a rule would still match its hosts, and keep later rules from them.
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
    """A rule may not be so: *member* is a path in it, *reason* what is wrong there."""

    def __init__(self, rule: str, member: Path, reason: str) -> None:
        place = f"{format_path(member)}: " if member else ""
        super().__init__(f"{rule}: {place}{reason}")
        self.member = member
        self.reason = reason


def refuse_invalid(error: ValidationError, given: object) -> Refused:
    """Return the refusal of what is *given* for the first mistake in it."""
    first = error.errors(include_url=False, include_input=False)[0]
    reason = plain_reason(first["msg"])
    match first["loc"]:
        case ("rules", int(place), *member):
            return RuleRefused(named_rule(given, place), tuple(member), reason)
        case path:
            return Refused(f"{format_path(path)}: {reason}" if path else reason)


def refuse_unknown(unknown: UnknownMembers, given: object) -> Refused:
    """Return the refusal of members that a policy, or a rule in it, does not have."""
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
    """Name the rule at *place* in what is *given*, or number it if it has no name."""
    match given:
        case {"rules": [*rules]} if place < len(rules):
            match rules[place]:
                case {"name": str(name)} if name:
                    return f"rule {name!r}"
    return f"rule number {place + 1}"
