"""Find members of a JSON text that its schema does not define. Pure.

A parser that ignores unknown members reports success for a request of which it did only
a part.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json

Schema = dict[str, Any]
Path = tuple[str | int, ...]

MAX_NAME_CHARACTERS = 64
MAX_NAMES = 5
SIMILARITY_CUTOFF = 0.6
PYTHON_WORDS = (
    (re.compile(r"a (valid )?dictionary( or (an )?instance of \w+)?"), "an object"),
    (re.compile(r"a valid (tuple|list)"), "a list"),
)


class RepeatedMember(ValueError):
    """An object has a member twice, of which a parser would ignore one."""


@dataclass(frozen=True, slots=True)
class UnknownMembers:
    """The unknown members *names* of the object at *path*, which has *accepted*."""

    path: Path
    names: tuple[str, ...]
    accepted: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Return a sentence with the unknown members and the accepted ones."""
        kind = "unknown member" if len(self.names) == 1 else "unknown members"
        return f"{self.locations}: {kind}{self.suggestion}; {self.accepted_sentence}"

    @property
    def locations(self) -> str:
        """Return the path of each member, the first five of them."""
        shown = [format_path((*self.path, name)) for name in self.names[:MAX_NAMES]]
        left = len(self.names) - len(shown)
        return ", ".join(shown) + (f" and {left} more" if left else "")

    @property
    def suggestion(self) -> str:
        """Return the members that were probably meant; "" if none is similar."""
        shown = self.names[:MAX_NAMES]
        near = (closest_match(name, self.accepted) for name in shown)
        found = dict.fromkeys(repr(name) for name in near if name)
        return f" (did you mean {' and '.join(found)}?)" if found else ""

    @property
    def accepted_sentence(self) -> str:
        """Return the accepted members as a part of the sentence."""
        return f"accepted here: {', '.join(self.accepted) or 'nothing'}"


def parse_json(text: bytes) -> Any:
    """Parse JSON in UTF-8.

    Raises:
        RepeatedMember: an object has a member twice.
        ValueError: the text is not JSON, is nested too deeply, or holds a number that
            is infinite or NaN.

    """
    from_json(text, allow_inf_nan=False)
    return json.loads(text.decode(), object_pairs_hook=_object)


def load_json(text: str | bytes) -> Any:
    """Read JSON of a file or a peer. Raises ValueError.

    What is nested hundreds deep is no JSON here, nor is a number without an end or half
    a character: no reader of the value need expect them.
    """
    sent = text.encode() if isinstance(text, str) else text
    return from_json(sent, allow_inf_nan=False)


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise RepeatedMember(
            f"{format_path((twice,))}: an object has it twice; send it once"
        )
    return made


@cache
def closed_schema(kind: Any) -> Schema:
    """Return the JSON schema of *kind* with no additional members in any object.

    The same kind may accept additional members on the wire or in the database.
    """
    return close_objects(TypeAdapter(kind).json_schema(mode="validation"))


def close_objects(schema: Schema) -> Schema:
    """Return *schema* with ``additionalProperties: false`` in each of its objects."""
    closed = {name: _close(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _close(part: object) -> object:
    match part:
        case dict():
            return close_objects(part)
        case list():
            return [_close(each) for each in part]
        case _:
            return part


def find_unknown_members(schema: Schema, value: object) -> UnknownMembers | None:
    """Return the first unknown members of *value*, at any depth; None if all are known.

    Ignore other mistakes in *value*; the validation reports them.
    """
    return next(_unknown(schema, value, (), schema.get("$defs", {})), None)


def _unknown(
    schema: Schema, value: object, path: Path, known: Mapping[str, Schema]
) -> Iterator[UnknownMembers]:
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    if either := schema.get("anyOf"):
        options = [part for part in either if _may_be(part, value, known)]
        found = [list(_unknown(part, value, path, known)) for part in options]
        yield from min(found, key=len, default=[])
    elif isinstance(value, Mapping):
        yield from _unknown_in_object(schema, value, path, known)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _unknown(schema.get("items", {}), item, (*path, place), known)


def _unknown_in_object(
    schema: Schema,
    value: Mapping[str, object],
    path: Path,
    known: Mapping[str, Schema],
) -> Iterator[UnknownMembers]:
    members = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    strange = tuple(name for name in value if name not in members)
    if strange and others is False:
        yield UnknownMembers(path, strange, tuple(sorted(members)))
    for name, item in value.items():
        part = members.get(name, others)
        if isinstance(part, dict):
            yield from _unknown(part, item, (*path, name), known)


def _may_be(schema: Schema, value: object, known: Mapping[str, Schema]) -> bool:
    if "$ref" in schema:
        schema = known[schema["$ref"].rpartition("/")[2]]
    kinds = {"object": Mapping, "array": list}
    kind = kinds.get(schema.get("type", ""))
    return kind is not None and isinstance(value, kind)


def plain_reason(message: str) -> str:
    """Return pydantic's *message* with the terms of JSON."""
    reason = message.removeprefix("Value error, ")
    for python, plain in PYTHON_WORDS:
        reason = python.sub(plain, reason)
    return reason[:1].lower() + reason[1:]


def closest_match(name: str, accepted: Sequence[str]) -> str | None:
    """Return the member of *accepted* that is most similar to *name*, if any."""
    lower = {each.lower(): each for each in accepted}
    close = difflib.get_close_matches(
        name[:MAX_NAME_CHARACTERS].lower(), lower, n=1, cutoff=SIMILARITY_CUTOFF
    )
    return lower[close[0]] if close else None


def format_path(path: Path) -> str:
    """Return *path* as ``rules.0.name``; quote names that are unusual or long."""
    return ".".join(_step(step) for step in path)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return str(step)
    if len(step) > MAX_NAME_CHARACTERS:
        return repr(f"{step[:MAX_NAME_CHARACTERS]}…")
    plain = step.replace("_", "").replace("-", "").isalnum() and step.isascii()
    return step if plain else repr(step)
