"""Rules of the audit trail: what a difference shows, and what it never shows."""

from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.audit.trail import MAX_DIFFERENCE_CHARACTERS, diff

SECRET = "correct horse battery"


def test_a_difference_shows_what_changed() -> None:
    """Old lines begin with a minus, new ones with a plus, the rest with a space."""
    shown = diff({"a": 1, "b": 2}, {"a": 1, "b": 3}).splitlines()

    assert [line for line in shown if line[0] == "-"] == ['-  "b": 2']
    assert [line for line in shown if line[0] == "+"] == ['+  "b": 3']
    assert '   "a": 1,' in shown


def test_what_is_made_or_removed_is_shown_as_a_whole() -> None:
    """A thing that was not there before has new lines only."""
    made = diff(None, {"name": "jane"})
    removed = diff({"name": "jane"}, None)

    assert {line[0] for line in made.splitlines()} == {"+"}
    assert {line[0] for line in removed.splitlines()} == {"-"}


def test_a_secret_is_told_as_changed() -> None:
    """That a secret changed is history; what it is stays secret."""
    old = {"addr": "a", "webhooks": [{"signingSecret": "old"}], "password": "old"}
    new = {"addr": "a", "webhooks": [{"signingSecret": "new"}], "password": "new"}

    shown = diff(old, new)

    assert '-  "password": "(a secret)"' in shown
    assert '+  "password": "(another secret)"' in shown
    assert '"old"' not in shown
    assert '"new"' not in shown


@given(
    st.dictionaries(
        st.sampled_from(["password", "apiToken", "passwordHash", "clientSecret"]),
        st.just(SECRET) | st.just({"inner": SECRET}),
    )
)
def test_no_secret_is_ever_shown(body: dict[str, object]) -> None:
    """However secrets are nested, no difference repeats one."""
    assert SECRET not in diff({"in": [body]}, {"in": body})


def test_a_difference_is_never_endless() -> None:
    """A huge change is cut at a line, and says so."""
    shown = diff([], [f"line {n}" for n in range(10_000)])

    assert len(shown) < MAX_DIFFERENCE_CHARACTERS + 50
    assert shown.endswith("(cut: it is longer)")
