"""Rules about rules: which hosts each applies to, and what is said of those without."""

import pytest

from twistlock_console.policies.rule_reach import covers, newly_shadowed, reach_of_rules
from twistlock_console.policies.rule_warnings import (
    format_list,
    saved_sentence,
    warnings_about,
)
from twistlock_console.protocol import (
    CompliancePart,
    FilePart,
    HostRule,
    ProcessPart,
    WatchedPath,
)

HOSTS = ("db-1", "web-1", "WEB-2")


@pytest.mark.parametrize(
    ("pattern", "other", "is_covered"),
    [
        ("*", "web-*", True),
        ("**", "web-[12]", True),
        ("web-*", "web-*", True),
        ("web-*", "WEB-1*", True),
        ("web-*", "web-?", True),
        ("*-1", "web-1", True),
        ("web-?", "web-?", True),
        ("web-?", "web-*", False),
        ("web-[12]", "web-1", False),
        ("web-1*", "web-*", False),
        ("*a*", "web-[ab]", False),
        ("web-*", "db-1", False),
    ],
)
def test_a_pattern_covers_another_only_where_that_is_sure(
    pattern: str, other: str, is_covered: bool
) -> None:
    """In doubt no: a rule that works must not be called shadowed."""
    assert covers(pattern, other) is is_covered


@pytest.mark.parametrize(
    ("rules", "matched", "applied", "shadowed_by"),
    [
        pytest.param(
            [HostRule("all"), HostRule("web", hosts=("web-*",))],
            [3, 2],
            [3, 0],
            [(), ("all",)],
            id="behind-a-rule-for-all",
        ),
        pytest.param(
            [HostRule("off", disabled=True), HostRule("web", hosts=("web-*",))],
            [3, 2],
            [0, 2],
            [(), ()],
            id="behind-one-that-is-off",
        ),
        pytest.param(
            [
                HostRule("1", hosts=("web-1",)),
                HostRule("2", hosts=("web-2",)),
                HostRule("web", hosts=("web-*",)),
            ],
            [1, 1, 2],
            [1, 1, 0],
            [(), (), ("1", "2")],
            id="all-its-hosts-have-others",
        ),
        pytest.param(
            [
                HostRule("a*", hosts=("a*", "b-*")),
                HostRule("ab", hosts=("a-1", "b-?")),
            ],
            [0, 0],
            [0, 0],
            [(), ("a*",)],
            id="by-patterns-without-a-host",
        ),
        pytest.param(
            [HostRule("a", hosts=("a*",)), HostRule("ab", hosts=("a-1", "c"))],
            [0, 0],
            [0, 0],
            [(), ()],
            id="in-part",
        ),
    ],
)
def test_the_reach_of_rules(
    rules: list[HostRule],
    matched: list[int],
    applied: list[int],
    shadowed_by: list[tuple[str, ...]],
) -> None:
    """A host gets the first rule that is on and matches it."""
    found = reach_of_rules(rules, HOSTS)

    assert [len(each.matched) for each in found] == matched
    assert [len(each.applied) for each in found] == applied
    assert [each.shadowed_by for each in found] == shadowed_by
    assert [each.is_shadowed for each in found] == [bool(s) for s in shadowed_by]


def test_a_rule_that_comes_first_takes_hosts_from_others() -> None:
    """Those that had none before are not its doing."""
    before = (HostRule("web", hosts=("web-*",)), HostRule("w1", hosts=("web-1",)))
    after = (HostRule("new"), *before)

    assert newly_shadowed(
        reach_of_rules(before, HOSTS), reach_of_rules(after, HOSTS), "new"
    ) == ("web",)


def warned(
    *rules: HostRule,
    place: int = 0,
    hosts: tuple[str, ...] = HOSTS,
    was_disabled: bool = False,
    others: tuple[str, ...] = (),
) -> list[tuple[str, str]]:
    """What is said before the rule at *place* is saved: fields and sentences."""
    reach = reach_of_rules(rules, hosts)[place]
    found = warnings_about(
        reach,
        known_hosts=len(hosts),
        was_disabled=was_disabled,
        newly_shadowed=others,
    )
    return [(warning.field, warning.sentence) for warning in found]


LOST = HostRule("r", hosts=("ui-*",))


@pytest.mark.parametrize(
    ("told", "field", "words"),
    [
        pytest.param(
            warned(LOST),
            "hosts",
            "none of the 3 Defenders matches ui-*: the rule would apply to no host",
            id="no-host",
        ),
        pytest.param(
            warned(LOST, hosts=("web-1",)),
            "hosts",
            "the only Defender does not match ui-*: the rule would apply to no host",
            id="not-the-only-host",
        ),
        pytest.param(
            warned(HostRule("all"), HostRule("r", hosts=("web-*",)), place=1),
            "hosts",
            "the rule all comes before it and matches the same hosts, and would",
            id="shadowed",
        ),
        pytest.param(
            warned(HostRule("r", disabled=True)),
            "disabled",
            "the rule is off: it would apply to no host",
            id="off",
        ),
        pytest.param(
            warned(HostRule("r"), others=("a",)),
            "hosts",
            "the rule comes before a and matches the same hosts: that rule would",
            id="takes-the-hosts-of-another",
        ),
        pytest.param(
            warned(HostRule("r"), others=("a", "b")),
            "hosts",
            "comes before a, b and matches the same hosts: those rules would",
            id="takes-the-hosts-of-others",
        ),
        pytest.param(
            warned(HostRule("r", compliance=CompliancePart(("SSH root login",)))),
            "checks",
            "there is no check 'SSH root login' (did you mean 'ssh-root-login'?)",
            id="unknown-check",
        ),
        pytest.param(
            warned(HostRule("r", processes=ProcessPart(("/bin/nc, /bin/x",)))),
            "denied",
            "'/bin/nc, /bin/x' is one path with a comma in it",
            id="comma-in-a-process",
        ),
        pytest.param(
            warned(HostRule("r", files=FilePart((WatchedPath("/a, /b"),)))),
            "paths",
            "'/a, /b' is one path with a comma in it",
            id="comma-in-a-path",
        ),
        pytest.param(
            warned(HostRule("r", files=FilePart((WatchedPath("/a,b", True),)))),
            "folders",
            "'/a,b' is one path with a comma in it",
            id="comma-in-a-folder",
        ),
        pytest.param(
            warned(HostRule("r", files=FilePart((WatchedPath("/var/log/*"),)))),
            "paths",
            "'/var/log/*' is a path with * or ? in its name, and no pattern",
            id="pattern-as-a-path",
        ),
        pytest.param(
            warned(HostRule("r", files=FilePart(exclusions=("/a,b",)))),
            "exclusions",
            "'/a,b' is one path with a comma in it",
            id="comma-in-an-exclusion",
        ),
        pytest.param(
            warned(HostRule("r", compliance=CompliancePart(()))),
            "name",
            "the rule denies no process, watches no file and runs no check",
            id="enforces-nothing",
        ),
    ],
)
def test_what_is_probably_not_meant_is_said(
    told: list[tuple[str, str]], field: str, words: str
) -> None:
    """One sentence, beside the field that it is about."""
    [(where, sentence)] = told

    assert where == field
    assert words in sentence


@pytest.mark.parametrize(
    "told",
    [
        warned(HostRule("r")),
        warned(HostRule("r", hosts=("ui-*",)), hosts=()),
        warned(HostRule("r", disabled=True), was_disabled=True),
        warned(HostRule("r", compliance=CompliancePart(("ssh-root-login",)))),
        warned(HostRule("r", files=FilePart((WatchedPath("/etc"),)))),
    ],
)
def test_nothing_is_said_of_a_rule_that_works(told: list[tuple[str, str]]) -> None:
    """Nor of hosts while there is none at all."""
    assert told == []


@pytest.mark.parametrize(
    ("rules", "hosts", "sentence"),
    [
        pytest.param(
            [HostRule("web", hosts=("web-*",))],
            HOSTS,
            "The rule web is saved and applies to 2 of 3 hosts: web-1, WEB-2. "
            "Connected Defenders get it within a second",
            id="hosts",
        ),
        pytest.param(
            [HostRule("web", hosts=("web-1",))],
            HOSTS,
            "The rule web is saved and applies to 1 host: web-1. Connected Defenders "
            "get it within a second",
            id="one-host",
        ),
        pytest.param(
            [HostRule("web", disabled=True)],
            HOSTS,
            "The rule web is saved. It is off and applies to no host",
            id="off",
        ),
        pytest.param(
            [HostRule("web", hosts=("web-*",)), HostRule("all")],
            HOSTS,
            "The rule web is saved, but the rule all comes before it and matches the "
            "same hosts",
            id="shadowed",
        ),
        pytest.param(
            [HostRule("web", hosts=("x",))],
            HOSTS,
            "The rule web is saved. No Defender matches it yet; it applies to those "
            "that come",
            id="no-host-matches",
        ),
        pytest.param(
            [HostRule("web")],
            (),
            "The rule web is saved. No Defender is deployed yet; it applies to those "
            "that come",
            id="no-host-at-all",
        ),
    ],
)
def test_what_is_said_of_a_saved_rule_is_so(
    rules: list[HostRule], hosts: tuple[str, ...], sentence: str
) -> None:
    """Nothing is "in force" that applies to no host."""
    [*earlier, saved] = reach_of_rules([*rules[1:], rules[0]], hosts)

    assert len(earlier) == len(rules) - 1
    assert saved_sentence(saved, len(hosts)) == sentence


def test_long_lists_are_cut() -> None:
    """Five names, and the number of the others."""
    assert format_list("abcdefg") == "a, b, c, d, e and 2 more"
    assert format_list("abcde") == "a, b, c, d, e"


def test_several_rules_may_shadow_one() -> None:
    """The sentence names them all."""
    rules = [
        HostRule("1", hosts=("a*",)),
        HostRule("2", hosts=("b*",)),
        HostRule("r", hosts=("a1", "b1")),
    ]

    assert saved_sentence(reach_of_rules(rules, ())[2], 0) == (
        "The rule r is saved, but the rules 1, 2 come before it and match the same "
        "hosts"
    )
