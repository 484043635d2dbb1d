"""The picture of who served when."""

from datetime import UTC, datetime, timedelta

from plugins.ha.messages import RoleChangeResponse
from plugins.ha.web.timeline import LEFT_PX, WIDTH_PX, draw_chart
from tests.ha.messages import role_change
from tests.ha.observations import ME, OTHER, THIRD

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def record(address: str, to: str, minutes_ago: float) -> RoleChangeResponse:
    """A change of role as the history has it."""
    then = NOW - timedelta(minutes=minutes_ago)
    return role_change(address, to, time=then.isoformat())


def test_a_history_is_drawn_as_bars_in_one_row_a_node() -> None:
    """A node that vanished ends where the next one begins, the last one now."""
    history = [
        record(THIRD, "primary", 1),
        record(THIRD, "standby", 2),
        record(THIRD, "primary", 4),
        record(OTHER, "primary", 8),
        record(ME, "standby", 9),
        record(ME, "primary", 10),
        record(OTHER, "standby", 11),
    ]

    chart = draw_chart([ME, OTHER], history, NOW)

    assert [row for row, _ in chart.rows] == [ME, OTHER, THIRD]
    assert [(bar.address, bar.x, bar.width) for bar in chart.bars] == [
        (ME, LEFT_PX, 77.0),
        (OTHER, 284.0, 308.0),
        (THIRD, 592.0, 154.0),
        (THIRD, 823.0, 77.0),
    ]
    assert chart.bars[0].tooltip == "10.0.0.1 served from 11:50:00 to 11:51:00 UTC"
    assert [label for _, label in chart.ticks][::4] == ["11:50:00", "12:00:00"]


def test_a_moment_of_service_can_be_seen() -> None:
    """No bar is thinner than two pixels."""
    history = [record(ME, "standby", 59.99), record(ME, "primary", 60)]

    chart = draw_chart([ME], history, NOW)

    assert [bar.width for bar in chart.bars] == [2.0]


def test_without_a_history_five_minutes_are_shown() -> None:
    """An empty chart has its height and its ticks all the same."""
    chart = draw_chart([], [], NOW)

    assert (chart.width, chart.height, chart.rows, chart.bars) == (WIDTH_PX, 66, (), ())
    assert chart.ticks[0] == (LEFT_PX, "11:55:00")
