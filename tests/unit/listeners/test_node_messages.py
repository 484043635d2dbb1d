"""Rules of the messages of the node API: what is read, and what is refused."""

from datetime import UTC, datetime

import pytest

from twistlock_console.common.errors import NodeUnreachable, Refused
from twistlock_console.node_api.messages import NodeMessage, TimeInSeconds, Timestamp

THEN = datetime(2026, 11, 1, 12, 0, 1, 234_567, tzinfo=UTC)


class Asked(NodeMessage):
    """A body with a text that is needed, and one that is not."""

    host_name: str
    note: str = ""


class Told(NodeMessage):
    """An answer with the same time twice."""

    last_seen: Timestamp
    expires_at: TimeInSeconds


def test_a_body_is_read_by_the_names_of_json() -> None:
    """Members that this release does not know are of a later one, and ignored."""
    found = Asked.from_body({"hostName": "web-1", "later": True})

    assert found == Asked(host_name="web-1")
    assert found.as_json() == {"hostName": "web-1", "note": ""}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param({}, "hostName", id="missing"),
        pytest.param({"hostName": 7}, "hostName", id="number"),
        pytest.param({"hostName": ""}, "hostName", id="empty"),
        pytest.param(["web-1"], "hostName", id="list"),
        pytest.param(None, "hostName", id="nothing"),
    ],
)
def test_a_body_without_its_text_is_refused(content: object, name: str) -> None:
    """The sentence names the member."""
    with pytest.raises(Refused, match=f'^"{name}" is missing or is no text.$'):
        Asked.from_body(content)


def test_an_answer_that_is_wrong_counts_as_none() -> None:
    """The sentence says what is wrong with it."""
    with pytest.raises(NodeUnreachable, match="not valid: lastSeen: Field required"):
        Told.from_answer({})


def test_times_are_written_as_precisely_as_they_are_meant() -> None:
    """Milliseconds where they tell something, else whole seconds."""
    told = Told(last_seen=THEN, expires_at=THEN)

    assert told.as_json() == {
        "lastSeen": "2026-11-01T12:00:01.234+00:00",
        "expiresAt": "2026-11-01T12:00:01+00:00",
    }
