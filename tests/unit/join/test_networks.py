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


def test_a_route_that_a_router_announced_counts() -> None:
    """Flags are written in base sixteen; a redirect sets one more of them."""
    redirected = "eth0 0700630A 0C0A4D0A 0013 0 0 0 FFFFFFFF 0 0 0\n"

    assert is_behind_router("10.99.0.7", TABLE + redirected) is True


@pytest.mark.parametrize(
    ("flags", "routed"),
    [
        pytest.param(("0001", "0003"), False, id="near-first"),
        pytest.param(("0003", "0001"), True, id="through-a-router-first"),
    ],
)
def test_of_two_routes_to_one_network_the_first_counts(
    flags: tuple[str, str], routed: bool
) -> None:
    """The kernel lists the one that it takes before the other."""
    rows = [f"eth0 0000630A 0C0A4D0A {each} 0 0 0 0000FFFF 0 0 0\n" for each in flags]

    assert is_behind_router("10.99.0.7", TABLE + "".join(rows)) is routed
