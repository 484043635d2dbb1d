"""Whether a host is on our network, from the kernel's table of routes."""

import pytest

from plugins.ha.membership.rules import is_behind_router

# Interface, destination, gateway, flags, …, mask; as /proc/net/route has them.
TABLE = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010A4D0A 0003 0 0 0 00000000 0 0 0
eth0 000A4D0A 00000000 0001 0 0 0 00FFFFFF 0 0 0
eth0 0500630A 0C0A4D0A 0007 0 0 0 FFFFFFFF 0 0 0
eth1 0000A8C0 00000000 0000 0 0 0 0000FFFF 0 0 0
"""


@pytest.mark.parametrize(
    ("address", "routed"),
    [
        pytest.param("10.77.10.12", False, id="on-our-network"),
        pytest.param("10.99.0.5", True, id="behind-a-host-route"),
        pytest.param("203.0.113.1", True, id="behind-the-default-route"),
        pytest.param("192.168.3.4", True, id="its-interface-is-down"),
        pytest.param("127.0.0.12", False, id="loopback"),
    ],
)
def test_the_most_exact_route_tells(address: str, routed: bool) -> None:
    """A host behind a router is not on our network."""
    assert is_behind_router(address, TABLE) is routed


def test_no_route_is_no_router() -> None:
    """A host without any routes talks to itself alone."""
    assert is_behind_router("10.0.0.1", "Iface Destination\n") is False
