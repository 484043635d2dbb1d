"""Declare the rights and the kinds of alerts of high availability to the core."""

from twistlock_console.accounts.rights import Area, Right
from twistlock_console.alerts.kinds import AlertKind, Threshold

_, R, C = Right

HIGH_AVAILABILITY = Area("High availability", (C, R, R, R))
CONSOLE_SCRIPTS = Area(
    "Script and release with which a host joins", (C, C, Right.NONE, C)
)
NODE_LOST = AlertKind(
    "nodeLost",
    "A node is lost",
    Threshold(
        "nodeLostSeconds",
        "Seconds until a silent node counts as lost",
        default=10,
        maximum=3600,
    ),
    is_duration=True,
)
MEMBER_LAG = AlertKind(
    "memberLag",
    "A node's database is behind",
    Threshold(
        "memberLagSeconds",
        "Seconds that a node's database may be behind",
        default=10,
        maximum=86_400,
    ),
)
