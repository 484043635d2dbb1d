"""Changes inputs where their structure is known: JSON stays JSON most of the time."""

import json
import random
from collections.abc import Callable
from typing import Any

#: Values at which parsers differ from what their authors thought of.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30),
    *(-(2**63), 0.5, 1e308, -0.0, "", "0", " ", "\x00", "\n", "a" * 300, "é", "é"),
    *("\u2028", "\U0010ffff", "\ufeff", [], {}, [[]], [None], {"": None}, "9" * 400),
    *("2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
)
MAX_DEPTH = 40


def mutate_json(
    text: bytes, max_size: int, seed: int, mutate_bytes: Callable[[bytes], bytes]
) -> bytes | None:
    """Return *text* with one value changed; None if it is no JSON, or grew too large.

    *mutate_bytes* changes texts in it.
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    try:
        value = json.loads(text)
        changed = json.dumps(_changed(value, chance, mutate_bytes, 0))
    except (ValueError, RecursionError):
        return None
    result = changed.encode("utf-8", "replace")
    return result if len(result) <= max_size else None


def _changed(
    value: Any, chance: random.Random, mutate: Callable[[bytes], bytes], depth: int
) -> Any:
    goes_on = depth < MAX_DEPTH and chance.random() < 0.85
    match value:
        case dict() if goes_on and value:
            return _changed_object(value, chance, mutate, depth)
        case list() if goes_on and value:
            return _changed_list(value, chance, mutate, depth)
        case str() if chance.random() < 0.6:
            changed = mutate(value.encode("utf-8", "replace"))
            return changed.decode("utf-8", "replace")
        case int() if chance.random() < 0.5:
            return value + chance.choice((-1, 1, 2**31, 2**63, -(2**64)))
        case _:
            return chance.choice(ODD_VALUES)


def _changed_list(
    value: list[Any],
    chance: random.Random,
    mutate: Callable[[bytes], bytes],
    depth: int,
) -> list[Any]:
    place = chance.randrange(len(value))
    before, after = value[:place], value[place + 1 :]
    match chance.randrange(7):
        case 0:
            return before + after
        case 1:
            return [*value, value[place]]
        case _:
            return [*before, _changed(value[place], chance, mutate, depth + 1), *after]


def _changed_object(
    value: dict[str, Any],
    chance: random.Random,
    mutate: Callable[[bytes], bytes],
    depth: int,
) -> dict[str, Any]:
    name = chance.choice(list(value))
    match chance.randrange(8):
        case 0:
            return {n: v for n, v in value.items() if n != name}
        case 1:
            return {**value, f"{name}X": value[name]}
        case 2:
            return {**value, name: value[chance.choice(list(value))]}
        case _:
            return {**value, name: _changed(value[name], chance, mutate, depth + 1)}
