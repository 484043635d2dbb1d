"""Who may ask to join, and when APPLY is refused, each with its sentence."""

from dataclasses import replace

import pytest

from plugins.ha.membership.rules import JoinRequest, apply_refusal, join_refusal

HERE = "26.1"
SECOND = JoinRequest("10.0.0.2", HERE, "AB:CD", approved=False)
THIRD = replace(SECOND, address="10.0.0.3")
FOURTH = replace(SECOND, address="10.0.0.4")


def config(*voting: str, voteless: tuple[str, ...] = ()) -> dict[str, object]:
    """A replica set with these members."""
    hosts = [(address, 1) for address in voting] + [(a, 0) for a in voteless]
    return {"members": [{"host": f"{a}:27017", "votes": v} for a, v in hosts]}


@pytest.mark.parametrize(
    ("members", "waiting", "sentence"),
    [
        (["10.0.0.1"], [], "No host waits"),
        (["10.0.0.1"], [SECOND], "1 more host must ask to join first"),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3"], [FOURTH], "4 would be too many"),
        (["10.0.0.1"], [SECOND, replace(THIRD, version="25.9")], "version 25.9"),
        (["10.0.0.1"], [SECOND, replace(THIRD, routed=True)], "behind a router"),
    ],
)
def test_apply_is_refused(
    members: list[str], waiting: list[JoinRequest], sentence: str
) -> None:
    """APPLY waits until it would make three fitting nodes."""
    refusal = apply_refusal(members, waiting, HERE)

    assert refusal is not None
    assert sentence in refusal


@pytest.mark.parametrize(
    ("members", "waiting"),
    [
        (["10.0.0.1"], [SECOND, THIRD]),
        (["10.0.0.1", "10.0.0.2"], [THIRD]),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3"], [THIRD]),
    ],
    ids=["first-formation", "one-replaced", "asked-again-half-way"],
)
def test_apply_goes_ahead(members: list[str], waiting: list[JoinRequest]) -> None:
    """Two at first, one later; a half-made member that asks again is one host."""
    assert apply_refusal(members, waiting, HERE) is None


def test_a_member_may_not_ask() -> None:
    """A node that votes must be removed before it joins anew."""
    refusal = join_refusal(SECOND, config("10.0.0.1", "10.0.0.2"), HERE)

    assert refusal is not None
    assert "is a node of this cluster already" in refusal


def test_another_version_may_not_ask() -> None:
    """A host is told its version and the cluster's."""
    refusal = join_refusal(replace(SECOND, version="25.9"), config("10.0.0.1"), HERE)

    assert refusal is not None
    assert "version 25.9" in refusal
    assert HERE in refusal


def test_a_half_made_member_may_ask_again() -> None:
    """A join that died half-way leaves a member without a vote."""
    half = config("10.0.0.1", voteless=("10.0.0.2",))

    assert join_refusal(SECOND, half, HERE) is None
