"""How a refusal names the rule that it is about."""

import pytest

from twistlock_console.policies.rule_errors import named_rule


@pytest.mark.parametrize(
    ("given", "place", "name"),
    [
        ({"rules": [{"name": "web"}]}, 0, "rule 'web'"),
        ({"rules": [{"name": "web"}, {"name": ""}]}, 1, "rule number 2"),
        ({"rules": [{"name": 7}]}, 0, "rule number 1"),
        ({"rules": ["web"]}, 0, "rule number 1"),
        ({"rules": []}, 2, "rule number 3"),
        ([], 0, "rule number 1"),
    ],
)
def test_a_rule_is_named_or_else_numbered(given: object, place: int, name: str) -> None:
    """Whatever was sent in the place of rules."""
    assert named_rule(given, place) == name
