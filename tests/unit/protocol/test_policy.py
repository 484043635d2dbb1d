"""Rules for hosts: which one a host gets, and which are refused."""

import hashlib
import json
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from twistlock_console.protocol import (
    FilePart,
    HostPolicy,
    HostRule,
    ProcessPart,
    ProtocolError,
    WatchedPath,
    decode_rule,
    encode_rule,
    hash_rule,
    rule_for,
)

RULES = (
    HostRule("off", hosts=("web-*",), disabled=True),
    HostRule("web", hosts=("WEB-*",)),
    HostRule("all"),
)


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        pytest.param("web-1", "web", id="first-that-is-enabled"),
        pytest.param("Web-1", "web", id="case-matters-not"),
        pytest.param("db-1", "all", id="a-later-one"),
    ],
)
def test_the_first_enabled_rule_that_matches_counts(host: str, rule: str) -> None:
    """Order is the administrator's."""
    found = rule_for(host, RULES)

    assert found
    assert found.name == rule


def test_a_host_may_have_no_rule() -> None:
    """Then nothing is enforced, and that has a hash too."""
    assert rule_for("db-1", RULES[:2]) is None
    assert len(hash_rule(None)) == 64


def test_the_hash_tells_rules_apart() -> None:
    """Any change is pushed; the same rule is not pushed twice."""
    when = datetime(2026, 11, 24, 12, tzinfo=UTC)
    rule = HostRule(
        "a",
        modified=when,
        processes=ProcessPart(("nc",), "prevent"),
        files=FilePart((WatchedPath("/etc"),)),
    )
    read = decode_rule(encode_rule(rule))

    assert read == rule
    assert hash_rule(read) == hash_rule(rule)
    assert hash_rule(HostRule("a", modified=when)) != hash_rule(rule)


def test_the_hash_is_that_of_the_sorted_json_without_spaces() -> None:
    """Of every member as on the wire; another hash would push each rule again."""
    rule = HostRule("a", files=FilePart((WatchedPath("/etc"),)))
    canonical = (
        '{"compliance":{"checks":null,"everyHours":24},"disabled":false,'
        '"files":{"effect":"alert","exclusions":[],'
        '"paths":[{"path":"/etc","recursive":false}]},"hosts":["*"],"modified":null,'
        '"name":"a","notes":"","owner":"","processes":{"denied":[],"effect":"alert"}}'
    )

    assert hash_rule(rule) == hashlib.sha256(canonical.encode()).hexdigest()
    assert hash_rule(None) == hashlib.sha256(b"null").hexdigest()


@pytest.mark.parametrize("pattern", ["nc", "nc*", "/usr/bin/nc", "*/nc"])
def test_a_process_is_denied_by_its_name_or_its_path(pattern: str) -> None:
    """A path may begin with a star."""
    rule = decode_rule(json.dumps({"name": "a", "processes": {"denied": [pattern]}}))

    assert rule.processes.denied == (pattern,)


def test_a_rule_is_written_as_the_product_writes_json() -> None:
    """camelCase, every member present."""
    rule = HostRule("a", files=FilePart((WatchedPath("/etc", recursive=True),)))

    written = json.loads(encode_rule(rule))

    assert written["files"]["paths"] == [{"path": "/etc", "recursive": True}]
    assert written["compliance"] == {"checks": None, "everyHours": 24}


def test_a_defender_ignores_members_of_a_newer_console() -> None:
    """On the wire only: the API refuses what is not enforced."""
    newer = {"name": "a", "network": {}, "processes": {"allowed": ["nc"]}}

    assert decode_rule(json.dumps(newer)) == HostRule("a")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        pytest.param({}, "name", id="no-name"),
        pytest.param({"hosts": []}, "hosts", id="no-hosts"),
        pytest.param(
            {"files": {"paths": [{"path": "etc"}]}}, "absolute path", id="relative"
        ),
        pytest.param(
            {"processes": {"denied": ["bin/nc"]}}, "neither the name", id="half-a-path"
        ),
        pytest.param({"processes": {"effect": "kill"}}, "effect", id="effect"),
        pytest.param({"files": {"effect": "prevent"}}, "alert", id="files-prevent"),
        pytest.param({"compliance": {"everyHours": 0}}, "everyHours", id="never"),
    ],
)
def test_a_bad_rule_is_refused(members: dict[str, object], words: str) -> None:
    """The sentence says where the mistake is."""
    named = members and {"name": "a"} | members
    with pytest.raises(ProtocolError, match=words):
        decode_rule(json.dumps(named))


def test_two_rules_have_different_names() -> None:
    """Events name their rule."""
    with pytest.raises(ValidationError, match="two rules are called 'a'"):
        TypeAdapter(HostPolicy).validate_python({"rules": [HostRule("a")] * 2})

    assert TypeAdapter(HostPolicy).validate_python({"rules": RULES}) == HostPolicy(
        RULES
    )
