"""Rules of foreign JSON: what its schema has no place for is found and named."""

import time
from dataclasses import dataclass

import pytest

from twistlock_console.common.json_members import (
    RepeatedMember,
    closed_schema,
    closest_match,
    find_unknown_members,
    format_path,
    parse_json,
    plain_reason,
)


@dataclass
class Leaf:
    """An object of the innermost depth."""

    denied: list[str]
    effect: str = "alert"


@dataclass
class Tree:
    """One with each way in which another can be in it."""

    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    either: str | Leaf = ""
    pairs: dict[str, Leaf] | None = None
    deeper: "Tree | None" = None


def sentence(value: object, kind: object = Tree) -> str | None:
    """What is said of *value*."""
    found = find_unknown_members(closed_schema(kind), value)
    return found and found.sentence


@pytest.mark.parametrize(
    ("value", "place"),
    [
        pytest.param({"leef": None}, "leef", id="top"),
        pytest.param({"leaf": {"x": 1}}, "leaf.x", id="in-an-object"),
        pytest.param({"leaves": [{}, {"x": 1}]}, "leaves.1.x", id="in-a-list"),
        pytest.param({"either": {"x": 1}}, "either.x", id="in-a-union"),
        pytest.param({"pairs": {"b": {"x": 1}}}, "pairs.b.x", id="in-a-mapping"),
        pytest.param({"deeper": {"deeper": {"x": 1}}}, "deeper.deeper.x", id="deep"),
        pytest.param({"leaf": {"": 1}}, "leaf.''", id="empty-name"),
        pytest.param({"leaf": {"a\n": 1}}, "leaf.'a\\n'", id="odd-name"),
        pytest.param({"leaf": {"a" * 99: 1}}, f"leaf.'{'a' * 64}…'", id="long-name"),
    ],
)
def test_an_unknown_member_is_found_at_every_depth(value: object, place: str) -> None:
    """The sentence begins with the path to it."""
    assert str(sentence(value)).startswith(f"{place}: unknown member")


def test_the_sentence_says_what_is_accepted_and_what_was_meant() -> None:
    """A typing error is told from a member of another product."""
    assert sentence({"leaf": {"Denyed": []}}) == (
        "leaf.Denyed: unknown member (did you mean 'denied'?); "
        "accepted here: denied, effect"
    )
    assert sentence({"leaf": {"antiMalware": 1}}) == (
        "leaf.antiMalware: unknown member; accepted here: denied, effect"
    )


def test_all_unknown_members_of_an_object_are_named_at_once() -> None:
    """Up to five; of more it is said how many."""
    two = sentence({"leaf": {"effekt": 1, "deny": 2}})
    many = sentence({"leaf": {f"z{number}": 1 for number in range(9)}})

    assert two == (
        "leaf.effekt, leaf.deny: unknown members (did you mean 'effect' and "
        "'denied'?); accepted here: denied, effect"
    )
    assert "leaf.z4 and 4 more: unknown members; " in str(many)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"leaf": None, "leaves": [{"denied": ["nc"]}], "either": "text"},
        {"pairs": {"any": {"denied": []}}},
        {"either": {"effect": "alert"}},
        {"leaf": "no object", "leaves": 7},
        ["no object"],
        None,
    ],
)
def test_what_is_known_or_of_another_kind_is_passed_over(value: object) -> None:
    """Wrong kinds are for the validation that follows."""
    assert sentence(value) is None


def test_an_object_that_takes_nothing_says_so() -> None:
    """A member in it is unknown, too."""

    @dataclass
    class Nothing:
        pass

    assert sentence({"a": 1}, Nothing) == ("a: unknown member; accepted here: nothing")


def test_a_member_that_is_there_twice_is_refused() -> None:
    """A parser would keep one of the two and drop the other."""
    with pytest.raises(RepeatedMember, match="rules: an object has it twice"):
        parse_json(b'{"a": [{"rules": [], "b": 1, "rules": [1]}]}')

    assert parse_json('{"a": {"b": "é"}, "b": [1, null]}'.encode()) == {
        "a": {"b": "é"},
        "b": [1, None],
    }


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"NaN", b"[" * 10_000, b"9" * 100_000, b'"\xff"', b'"\\ud800"'],
)
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_helpers_speak_the_language_of_json() -> None:
    """Neither tuples nor dictionaries; places as in JavaScript."""
    assert plain_reason("Input should be a valid tuple") == "input should be a list"
    assert plain_reason("Value error, It is bad") == "it is bad"
    assert plain_reason("Input should be a valid dictionary or instance of Rule") == (
        "input should be an object"
    )
    assert format_path(("rules", 0, "every-hours", "_id")) == "rules.0.every-hours._id"
    assert closest_match("hosst", ("name", "hosts")) == "hosts"
    assert closest_match("network", ("name", "hosts")) is None


def seconds_for(count: int) -> float:
    """How long it takes to refuse *count* members, the last of which comes twice."""
    members = b",".join(b'"%d":0' % number for number in [*range(count), count - 1])
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with pytest.raises(RepeatedMember):
            parse_json(b"{%b}" % members)
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_member_that_comes_twice_costs_no_more_beside_many_others() -> None:
    """Eight times as many members take about eight times as long, not 64 times."""
    assert seconds_for(32_000) < 30 * seconds_for(4_000)


def test_only_members_that_are_shown_are_compared_with_those_that_are_accepted() -> (
    None
):
    """Thousands of unknown members are refused with a short sentence."""
    many = {f"leav{number}": 0 for number in range(5_000)}

    said = sentence(many)

    assert said is not None
    assert "and 4995 more" in said
    assert len(said) < 300
