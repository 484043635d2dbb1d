"""Attacks by one client against each node in turn, direct and through load balancers.

Honest requests are answered, the role stays, no port closes, and no session is cut.
"""

from collections.abc import Callable

import pytest

from tests.hostile.stage import HostileStage
from tests.hostile.table import told
from tests.hostile.verdict import broken_rules
from tests.hosts.cluster import Cluster
from tests.load_balancer.fronts import HAPROXY, NGINX, Fronts

pytestmark = [
    pytest.mark.needs("haproxy", "nginx", "dnsmasq", "ip", root=True),
    pytest.mark.timed,
]
SECONDS = 9.0
SLOW = ("slow-bodies", "slow-chunks", "slow-heads", "basic-logins")
SILENT = ("silent-tcp-10000", "silent-tls")
LOGINS = ("unknown-logins", "right-logins")
DOWNLOADS = ("slow-downloads", "8084-unfinished-frames", "8084-unfinished-heads")
PRIVATE = ("8086-silent", "8086-as-defender", "27017-silent", "27017-as-defender")
BEHIND = ("slow-bodies", "slow-chunks", "silent-tcp", "unknown-logins")


@pytest.fixture(scope="module")
def stage(timed_cluster: Cluster) -> HostileStage:
    """Attacker and honest clients, on hosts of the cluster's own switch."""
    return HostileStage(timed_cluster)


@pytest.mark.parametrize(
    ("primary", "attacks", "through"),
    [
        pytest.param("h1", SLOW, "", id="slow"),
        pytest.param("h2", SILENT, "", id="silent"),
        pytest.param("h3", LOGINS, "", id="logins"),
        pytest.param("h1", DOWNLOADS, "", id="downloads and frames"),
        pytest.param("h1", PRIVATE, "", id="ports between nodes"),
        pytest.param("h2", BEHIND, HAPROXY, id="behind HAProxy"),
        pytest.param("h3", BEHIND, NGINX, id="behind nginx"),
    ],
)
def test_an_attack_stops_nobody(
    stage: HostileStage,
    timed_fronts: Fronts,
    primary: str,
    attacks: tuple[str, ...],
    through: str,
    record_property: Callable[[str, object], None],
) -> None:
    """95 % of honest requests are answered within 2 s, whichever node is primary.

    On a slow machine (`Pace`) they have longer.
    """
    stage.cluster.switch_to(primary)

    outcome = stage.play(", ".join(attacks), attacks, SECONDS, through)
    if broken_rules(outcome):
        # The speed of this machine may halve for seconds: one more try decides.
        record_property("told", f"tried again: {told(outcome)}")
        outcome = stage.play(", ".join(attacks), attacks, SECONDS, through)

    record_property("told", told(outcome))
    assert broken_rules(outcome) == []
