"""Which alert is due, as tables; and how alerts are written."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from plugins.ha.declarations import MEMBER_LAG, NODE_LOST
from twistlock_console.alerts.dispatcher import MAX_BACKOFF_S, backoff_s
from twistlock_console.alerts.kinds import alert_kinds
from twistlock_console.alerts.messages import (
    MAX_LINE_BYTES,
    Sender,
    sign,
    to_json,
    to_line,
    to_syslog_frame,
)
from twistlock_console.alerts.rules import (
    FLEET,
    MAX_SINGLE_DEFENDERS,
    AlertRecord,
    AlertState,
    CoreAlertKind,
    Notice,
    Problem,
    due_notices,
    failover_notice,
    filter_by_duration,
    lost_defender_problems,
)

LOST = Problem(NODE_LOST.name, "10.0.0.2", "the node 10.0.0.2 is lost")
LAG = Problem(MEMBER_LAG.name, "10.0.0.3", "the database of 10.0.0.3 is 30 s behind")
EVERY = frozenset(kind.name for kind in alert_kinds())


@pytest.mark.parametrize(
    ("problems", "told", "known", "notices"),
    [
        pytest.param([], [], EVERY, [], id="nothing wrong, nothing told"),
        pytest.param(
            [LOST], [], EVERY, [Notice(LOST, 1, AlertState.RAISED)], id="it begins"
        ),
        pytest.param(
            [LOST], [AlertRecord(LOST, 1, True)], EVERY, [], id="told once only"
        ),
        pytest.param(
            [],
            [AlertRecord(LOST, 1, True)],
            EVERY,
            [Notice(LOST, 1, AlertState.RECOVERED)],
            id="it is over",
        ),
        pytest.param(
            [],
            [AlertRecord(LOST, 1, True)],
            {MEMBER_LAG.name},
            [],
            id="nobody could look",
        ),
        pytest.param(
            [], [AlertRecord(LOST, 1, False)], EVERY, [], id="over is told once"
        ),
        pytest.param(
            [LOST],
            [AlertRecord(LOST, 1, False)],
            EVERY,
            [Notice(LOST, 2, AlertState.RAISED)],
            id="it begins again, under another number",
        ),
        pytest.param(
            [LAG],
            [AlertRecord(LOST, 4, True)],
            EVERY,
            [Notice(LAG, 1, AlertState.RAISED), Notice(LOST, 4, AlertState.RECOVERED)],
            id="one begins while another is over",
        ),
    ],
)
def test_a_problem_is_told_when_it_begins_and_when_it_is_over(
    problems: list[Problem],
    told: list[AlertRecord],
    known: frozenset[str],
    notices: list[Notice],
) -> None:
    """Once each, and never from not having looked."""
    by_key = {each.problem.key: each for each in told}

    assert due_notices(problems, by_key, known) == tuple(notices)


@pytest.mark.parametrize(
    ("told", "epoch", "is_due"), [(None, 1, False), (3, 3, False), (3, 4, True)]
)
def test_a_takeover_is_told_once(told: int | None, epoch: int, is_due: bool) -> None:
    """The first of all is no takeover; a node that starts again tells nothing twice."""
    notice = failover_notice(told, epoch, "why")

    assert (notice is not None) is is_due
    if notice:
        assert notice.id == "failover:the Console#4:happened"


def test_a_problem_must_last() -> None:
    """What is gone sooner is never told; the time begins anew after a gap."""
    patience = {NODE_LOST.name: 10}

    since, first = filter_by_duration([LOST, LAG], {}, 100, patience, {})
    since, at_once = filter_by_duration([LOST], since, 109, patience, {})
    since, now = filter_by_duration([LOST], since, 110, patience, {})
    gone, none = filter_by_duration([], since, 111, patience, {})
    _, again = filter_by_duration([LOST], gone, 112, patience, {})

    assert first == (LAG,)
    assert (at_once, now) == ((), (LOST,))
    assert (none, again) == ((), ())


@pytest.mark.parametrize(
    ("is_open", "lasted"),
    [pytest.param(True, (LOST,), id="open"), pytest.param(False, (), id="over")],
)
def test_what_was_told_and_is_still_there_has_lasted(
    is_open: bool, lasted: tuple[Problem, ...]
) -> None:
    """Also for a node that has just taken over and sees it for the first time."""
    told = {LOST.key: AlertRecord(LOST, 1, is_open)}

    since, now = filter_by_duration([LOST], {}, 100, {NODE_LOST.name: 10}, told)

    assert now == lasted
    assert since == {LOST.key: 100}


def test_many_defenders_lost_at_once_are_one_alert() -> None:
    """Up to fifty each have their own, and keep it while they are away."""
    few = [f"host-{n}" for n in range(MAX_SINGLE_DEFENDERS)]

    singly = lost_defender_problems(few, [])
    many = lost_defender_problems([*few, "one-more"], ["host-0", "gone"])

    assert [problem.subject for problem in singly] == sorted(few)
    assert [problem.subject for problem in many] == ["host-0", FLEET]
    assert many[1].sentence == "51 Defenders are not connected"


def test_a_channel_rests_longer_with_each_failure() -> None:
    """Twice as long each time, up to five minutes."""
    assert [backoff_s(n) for n in (1, 2, 3, 20)] == [2, 4, 8, MAX_BACKOFF_S]


AT = datetime(2026, 11, 4, 5, 6, 7, tzinfo=UTC)
SENDER = Sender("10.0.0.1", "console.example.com", 42)
SLY = Problem(CoreAlertKind.DEFENDERS_LOST, 'a"b\nc', "away\r\n<0>forged")


def test_the_webhook_can_check_who_sent_it() -> None:
    """The signature covers time and body, as the manual tells receivers to check."""
    body = to_json(Notice(LOST, 1, AlertState.RAISED), AT, SENDER)

    stamp, _, proof = sign(b"key", body, 1000).partition(",")

    wanted = hmac.new(b"key", b"1000." + body, hashlib.sha256).hexdigest()
    assert (stamp, proof) == ("t=1000", f"v1={wanted}")
    assert json.loads(body)["state"] == "raised"
    assert json.loads(body)["time"] == "2026-11-04T05:06:07.000Z"


def test_syslog_has_the_products_line() -> None:
    """Both forms; nobody forges another line by a name."""
    notice = Notice(SLY, 2, AlertState.RECOVERED)
    new = to_syslog_frame("rfc5424", notice, AT, SENDER).decode()
    old = to_syslog_frame("rfc3164", notice, AT, SENDER).decode()

    line = to_line(notice, AT, SENDER)
    assert line.startswith('time="2026-11-04T05:06:07.000Z" type="alert" log_type=')
    assert 'subject="a\\"b\\nc"' in line
    assert new == (
        "<29>1 2026-11-04T05:06:07.000Z 10.0.0.1 Twistlock-Console 42 "
        f"defendersLost - {line}"
    )
    assert old == f"<29>Nov  4 05:06:07 10.0.0.1 Twistlock-Console[42]: {line}"
    assert len(new.splitlines()) == len(old.splitlines()) == 1


def test_a_line_is_not_longer_than_servers_take() -> None:
    """It is cut."""
    long = Notice(Problem(CoreAlertKind.TEST, "x", "y" * 5000), 1, AlertState.HAPPENED)

    assert len(to_syslog_frame("rfc3164", long, AT, SENDER)) == MAX_LINE_BYTES
