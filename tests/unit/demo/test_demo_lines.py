"""The demo's one-line commands."""

import pytest

from demo.commands import Command, Verb, parse
from twistlock_console.common.errors import Refused


@pytest.mark.parametrize(
    ("line", "order"),
    [
        pytest.param("kill 127.0.0.11", Command(Verb.KILL, "127.0.0.11"), id="kill"),
        pytest.param("start 127.0.0.12", Command(Verb.START, "127.0.0.12"), id="start"),
        pytest.param(
            "freeze 127.0.0.13", Command(Verb.FREEZE, "127.0.0.13"), id="freeze"
        ),
        pytest.param("thaw 127.0.0.13", Command(Verb.THAW, "127.0.0.13"), id="thaw"),
        pytest.param("cut 127.0.0.11", Command(Verb.CUT, "127.0.0.11"), id="cut"),
        pytest.param("heal 127.0.0.11", Command(Verb.HEAL, "127.0.0.11"), id="heal"),
        pytest.param("switchover", Command(Verb.SWITCHOVER), id="switchover-to-any"),
        pytest.param(
            "switchover 127.0.0.12",
            Command(Verb.SWITCHOVER, "127.0.0.12"),
            id="switchover-to-one",
        ),
        pytest.param("status", Command(Verb.STATUS), id="status"),
        pytest.param("  QUIT ", Command(Verb.QUIT), id="blanks-and-capitals"),
    ],
)
def test_a_line_is_read_as_a_command(line: str, order: Command) -> None:
    """Each command is one word and, where it takes one, an address."""
    assert parse(line) == order


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("explode", "There is no command 'explode'.", id="unknown"),
        pytest.param("", "There is no command ''.", id="empty"),
        pytest.param("kill", "kill takes an address", id="address-missing"),
        pytest.param("kill 10.0.0.1", "No node has the address", id="stranger"),
        pytest.param("kill 127.0.0.11 now", "kill takes one address", id="too-much"),
        pytest.param("quit 127.0.0.11", "quit takes no address", id="no-address"),
    ],
)
def test_a_wrong_line_is_refused_with_a_sentence(line: str, message: str) -> None:
    """The message names the correct form."""
    with pytest.raises(Refused) as refused:
        parse(line)

    assert str(refused.value).startswith(message)
