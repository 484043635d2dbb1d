"""The kinds of alerts that high availability adds."""

from twistlock_console.alerts.kinds import AlertKind, Threshold

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
