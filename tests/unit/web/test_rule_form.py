"""Rules of the form of a host rule: no value is lost on the way in or out."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.common.errors import Refused
from twistlock_console.protocol import (
    CHECKS,
    CompliancePart,
    FilePart,
    HostRule,
    ProcessPart,
    WatchedPath,
)
from twistlock_console.web.actions.rules import (
    FIELD_LABELS,
    FieldRefused,
    form_fields,
    parse_rule,
)

WORDS = st.text(string.ascii_letters + string.digits + "._-*?", min_size=1, max_size=9)
PATHS = st.text(string.printable[:95], min_size=1, max_size=20).map(
    lambda text: f"/x{text}x"
)
CHECKED = st.lists(st.sampled_from(list(CHECKS)), unique=True).map(tuple)


def tuples(one: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Return a strategy of tuples with up to four items."""
    return st.lists(one, max_size=4).map(tuple)


RULES = st.builds(
    HostRule,
    name=st.text(string.ascii_letters, min_size=1, max_size=9),
    hosts=st.lists(WORDS, min_size=1, max_size=4).map(tuple),
    disabled=st.booleans(),
    notes=st.lists(WORDS, max_size=3).map("\n".join),
    processes=st.builds(
        ProcessPart, tuples(WORDS | PATHS), st.sampled_from(["alert", "prevent"])
    ),
    files=st.builds(
        FilePart,
        st.lists(st.builds(WatchedPath, PATHS, st.booleans()), max_size=4)
        .map(lambda paths: sorted(paths, key=lambda path: path.recursive))
        .map(tuple),
        tuples(PATHS),
    ),
    compliance=st.builds(CompliancePart, st.none() | CHECKED, st.integers(1, 8760)),
)


@given(rule=RULES)
def test_a_rule_shown_and_saved_again_is_unchanged(rule: HostRule) -> None:
    """Any rule, including "no check" and paths with commas."""
    fields = form_fields(rule)
    sent = {
        name: text.replace("\n", "\r\n")
        for name, text in fields.items()
        if name != "disabled" or text
    }

    assert parse_rule(sent) == rule


@pytest.mark.parametrize(
    ("fields", "hosts", "denied", "checks"),
    [
        pytest.param(
            {
                "hosts": "ui-web-*, ui-k8s-*",
                "denied": "xmrig, nc",
                "checks": "ssh-tries, redirects",
            },
            ("ui-web-*", "ui-k8s-*"),
            ("xmrig", "nc"),
            ("ssh-tries", "redirects"),
            id="commas",
        ),
        pytest.param(
            {"hosts": "web-[1,2], [a b]?,c", "denied": "", "checks": ""},
            ("web-[1,2]", "[a b]?", "c"),
            (),
            None,
            id="brackets",
        ),
        pytest.param(
            {
                "hosts": "a b\tc;d,\r\n,e",
                "denied": "tmux: server\r\n x;y ",
                "checks": "",
            },
            ("a", "b", "c", "d", "e"),
            ("tmux: server", "x", "y"),
            None,
            id="blanks-and-semicolons",
        ),
        pytest.param(
            {"hosts": "*", "denied": "/bin/nc, /bin/x\n/opt/a b", "checks": "none"},
            ("*",),
            ("/bin/nc, /bin/x", "/opt/a b"),
            (),
            id="paths-stay-whole",
        ),
    ],
)
def test_several_entries_on_one_line_are_several(
    fields: dict[str, str],
    hosts: tuple[str, ...],
    denied: tuple[str, ...],
    checks: tuple[str, ...] | None,
) -> None:
    """Separators within a line count only where a name cannot contain them."""
    rule = parse_rule({"name": "r", **fields})

    assert rule.hosts == hosts
    assert rule.processes.denied == denied
    assert rule.compliance.checks == checks


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"name": ""}, "name", "string should have at least 1 character"),
        ({"notes": "n" * 2000}, "notes", "string should have at most 1024"),
        ({"hosts": ""}, "hosts", "at least 1 item"),
        ({"hosts": "web@1"}, "hosts", "no host has '@' in its name"),
        ({"hosts": "10.0.0.0/24"}, "hosts", "no host has '/' in its name"),
        ({"hosts": "web-[1"}, "hosts", "no host has '[' in its name"),
        ({"hosts": "!web-1"}, "hosts", "no host has '!' in its name"),
        ({"exclusions": "etc/*"}, "exclusions", "is not an absolute path"),
        ({"denied": "bin/nc"}, "denied", "neither the name of a process nor"),
        ({"effect": "kill"}, "effect", "input should be 'alert' or 'prevent'"),
        ({"paths": "etc/passwd"}, "paths", "is not an absolute path; begin it with /"),
        ({"paths": "/a", "folders": "etc"}, "folders", "is not an absolute path"),
        ({"paths": "/a\0"}, "paths", "holds a control character"),
        ({"exclusions": "/a\x01"}, "exclusions", "holds a control character"),
        ({"checks": "c" * 300}, "checks", "at most 255 characters"),
        ({"everyHours": "0"}, "everyHours", "greater than or equal to 1"),
        ({"everyHours": "soon"}, "everyHours", "give a whole number"),
        ({"everyHours": "\u0662"}, "everyHours", "give a whole number"),
    ],
)
def test_an_error_names_the_field(
    fields: dict[str, str], field: str, reason: str
) -> None:
    """The message has the label of the field, and no name from the stored form."""
    with pytest.raises(FieldRefused) as caught:
        parse_rule({"name": "r", "hosts": "*", **fields})

    assert caught.value.field == field
    assert reason in caught.value.reason
    assert str(caught.value) == f"{FIELD_LABELS[field]}: {caught.value.reason}"


def test_a_stored_rule_can_be_saved_again() -> None:
    """A stored value that a new rule may not have is still accepted."""
    stored = HostRule("old", hosts=("web@prod",))

    assert parse_rule(form_fields(stored), stored) == stored
    with pytest.raises(Refused):
        parse_rule(form_fields(stored))
