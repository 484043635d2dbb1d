"""Store the runtime policy for hosts: one document with a version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError
from pymongo import ReturnDocument
from pymongo.database import Database

from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.names import check_new_name, name_key
from twistlock_console.policies.rule_errors import refuse_invalid
from twistlock_console.protocol import HostPolicy, HostRule
from twistlock_console.protocol.bounds import describe_first_error

COLLECTION = "policies"
HOST_RUNTIME = "hostRuntime"
CHANGED_MEANWHILE = (
    "another user changed the rules meanwhile; reload the rules, then repeat"
)
Documents = Database[dict[str, object]]
_policy: TypeAdapter[HostPolicy] = TypeAdapter(HostPolicy)
_rules: TypeAdapter[tuple[HostRule, ...]] = TypeAdapter(tuple[HostRule, ...])


@dataclass(frozen=True, slots=True)
class _PolicyDocument:
    """The stored document of the policy; its *rules* may be invalid."""

    version: int
    rules: Mapping[str, object]


_document: TypeAdapter[_PolicyDocument] = TypeAdapter(_PolicyDocument)


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """The rules in their order; version 0 means a policy that was never changed."""

    version: int
    rules: tuple[HostRule, ...]

    def to_json(self) -> dict[str, object]:
        """Return the policy as the API shows it."""
        shown: dict[str, object] = _policy.dump_python(
            HostPolicy(self.rules), mode="json", by_alias=True
        )
        return shown


def read_policy(database: Documents) -> StoredPolicy:
    """Return the policy in force. Raises ConsoleError if it cannot be parsed."""
    return _parse(database[COLLECTION].find_one({"_id": HOST_RUNTIME}))


def read_rules_if_valid(database: Documents) -> tuple[HostRule, ...]:
    """Return the rules in force; none if they cannot be parsed."""
    return _parse_or_empty(database[COLLECTION].find_one({"_id": HOST_RUNTIME})).rules


def write_policy(
    database: Documents,
    rules: Sequence[HostRule],
    owner: str,
    seen: int | None = None,
) -> tuple[StoredPolicy, StoredPolicy]:
    """Replace the rules in force by *rules* on behalf of *owner*.

    Unchanged rules keep the user and time of their last change.

    Args:
        database: the database of the cluster.
        rules: all rules in their order.
        owner: the user who makes the change.
        seen: the version that the user saw; None to replace any version.

    Returns:
        The policy before and after the change.

    Raises:
        Refused: the rules are invalid, or another version is in force by now.

    """
    old = _parse_or_empty(database[COLLECTION].find_one({"_id": HOST_RUNTIME}))
    if seen is not None and seen != old.version:
        raise Refused(
            "another user changed the rules meanwhile; reload the rules, then repeat"
        )
    _check_new_names(rules, old.rules)
    signed = _validate(_sign_changes(rules, old.rules, owner))
    written = database[COLLECTION].find_one_and_update(
        {"_id": HOST_RUNTIME, **({"version": old.version} if old.version else {})},
        {
            "$set": {"rules": _policy.dump_python(signed, by_alias=True)},
            "$inc": {"version": 1},
        },
        upsert=not old.version,
        return_document=ReturnDocument.AFTER,
    )
    if written is None:
        raise Refused(
            "another user changed the rules meanwhile; reload the rules, then repeat"
        )
    return old, replace(old, version=_version_of(written), rules=signed.rules)


def _validate(rules: Sequence[HostRule]) -> HostPolicy:
    given = {"rules": list(rules)}
    try:
        return _policy.validate_python(given)
    except ValidationError as error:
        raise refuse_invalid(error, given) from error


def _check_new_names(rules: Sequence[HostRule], before: Sequence[HostRule]) -> None:
    """Raise Refused for a new name that is confusable with another rule's.

    Existing names remain valid.
    """
    known = {rule.name for rule in before}
    taken: dict[str, str] = {}
    for rule in sorted(rules, key=lambda rule: rule.name not in known):
        twin = taken.setdefault(name_key(rule.name), rule.name)
        if rule.name in known:
            continue
        check_new_name(rule.name)
        if twin != rule.name:
            raise Refused(
                f"there is a rule {twin!r}, from which {rule.name!r} differs only in "
                "case or in the form of its letters; give it another name"
            )


def _sign_changes(
    rules: Sequence[HostRule], before: Sequence[HostRule], owner: str
) -> tuple[HostRule, ...]:
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    known = {rule.name: rule for rule in before}

    def sign(rule: HostRule) -> HostRule:
        old = known.get(rule.name)
        if old and replace(rule, modified=old.modified, owner=old.owner) == old:
            return old
        return replace(rule, modified=now, owner=owner)

    return tuple(sign(rule) for rule in rules)


def _parse(found: Mapping[str, object] | None) -> StoredPolicy:
    if found is None:
        return StoredPolicy(0, ())
    document = _document.validate_python(found)
    # Parse each rule alone: rules that conflict must be shown, so that a user can
    # correct them.
    try:
        rules = _rules.validate_python(document.rules["rules"])
    except ValidationError as error:
        raise ConsoleError(
            f"the stored host policy cannot be read{describe_first_error(error)}"
        ) from error
    return StoredPolicy(document.version, rules)


def _parse_or_empty(found: Mapping[str, object] | None) -> StoredPolicy:
    """Return the stored policy, with no rules if they cannot be parsed."""
    try:
        return _parse(found)
    except ConsoleError:
        return StoredPolicy(_version_of(found) if found else 0, ())


def _version_of(found: Mapping[str, object]) -> int:
    return _document.validate_python(found).version
