"""Define the policy for hosts: an ordered list of rules, one of which applies."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from twistlock_console.protocol.bounds import (
    WIRE,
    Glob,
    Moment,
    Name,
    Path,
    Sentence,
    Word,
    decode_as,
)

MAX_RULES = 200


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not an absolute path; begin it with /")
    return path


def _name_or_absolute(pattern: str) -> str:
    if "/" in pattern and not pattern.startswith(("/", "*")):
        raise ValueError(
            f"{pattern!r} is neither the name of a process nor an absolute path"
        )
    return pattern


@dataclass(frozen=True, slots=True)
class ProcessPart:
    """Processes that may not run: globs of names or of absolute paths."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    denied: Annotated[
        tuple[Annotated[Glob, AfterValidator(_name_or_absolute)], ...],
        Field(max_length=500),
    ] = ()
    effect: Literal["alert", "prevent"] = "alert"


@dataclass(frozen=True, slots=True)
class WatchedPath:
    """A file or folder to watch for changes; *recursive* includes all below it."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    path: Annotated[Path, AfterValidator(_absolute)]
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class FilePart:
    """Watched paths, and globs of absolute paths that are excluded."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    paths: Annotated[tuple[WatchedPath, ...], Field(max_length=200)] = ()
    exclusions: Annotated[tuple[Glob, ...], Field(max_length=200)] = ()
    effect: Literal["alert"] = "alert"


@dataclass(frozen=True, slots=True)
class CompliancePart:
    """The ids of the checks to run, None for all, and the interval in hours."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    checks: Annotated[tuple[Name, ...], Field(max_length=200)] | None = None
    every_hours: Annotated[int, Field(ge=1, le=8760)] = 24


@dataclass(frozen=True, slots=True)
class HostRule:
    """A rule to enforce on the hosts whose names match a pattern in *hosts*.

    The Console sets *modified* and *owner*: time and user of the last change.
    """

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    name: Name
    hosts: Annotated[tuple[Glob, ...], Field(min_length=1, max_length=500)] = ("*",)
    disabled: bool = False
    notes: Sentence = ""
    processes: ProcessPart = field(default_factory=ProcessPart)
    files: FilePart = field(default_factory=FilePart)
    compliance: CompliancePart = field(default_factory=CompliancePart)
    modified: Moment | None = None
    owner: Word = ""


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """All rules; to each host the first enabled rule that matches applies."""

    __pydantic_config__: ClassVar[ConfigDict] = WIRE
    rules: Annotated[tuple[HostRule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [rule.name for rule in self.rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two rules are called {min(twice)!r}; rename one")
        return self


_rule: TypeAdapter[HostRule] = TypeAdapter(HostRule)


def rule_for(host: str, rules: Sequence[HostRule]) -> HostRule | None:
    """Return the first enabled rule that matches the name *host*, ignoring case."""
    name = host.lower()
    for rule in rules:
        if not rule.disabled and any(fnmatchcase(name, g.lower()) for g in rule.hosts):
            return rule
    return None


def hash_rule(rule: HostRule | None) -> str:
    """Return the SHA-256, in hex, of the rule's canonical JSON.

    A Defender stores and repeats the hash that it received and never computes it: a
    newer Console may know members that the Defender does not.
    """
    members = rule and _rule.dump_python(rule, mode="json", by_alias=True)
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def encode_rule(rule: HostRule) -> str:
    """Return *rule* as JSON."""
    return _rule.dump_json(rule, by_alias=True).decode()


def decode_rule(text: str | bytes) -> HostRule:
    """Parse a rule. Raises ProtocolError."""
    return decode_as(_rule, text)
