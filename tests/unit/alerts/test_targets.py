"""Where alerts may go: not to what listens for a host alone, nor to our own nodes."""

from ipaddress import ip_address, ip_network

import pytest

from twistlock_console.alerts.targets import TargetPolicy

NODES = frozenset({ip_address("10.0.0.1"), ip_address("10.0.0.2")})
PORTS = frozenset({8083, 8084, 8086, 8443, 27017})
POLICY = TargetPolicy(nodes=NODES, names=frozenset({"console.test"}), ports=PORTS)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.0.9", "a loopback address"),
        ("::1", "a loopback address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("64:ff9b::7f00:1", "a loopback address"),
        ("2002:7f00:1::", "a loopback address"),
        ("2001:0:7f00:1::", "a loopback address"),
        ("169.254.169.254", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("::ffff:169.254.169.254", "a link-local address"),
        ("0.0.0.0", "no address of a host"),  # noqa: S104 - nothing is bound to it
        ("0.1.2.3", "no address of a host"),
        ("::", "no address of a host"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "a reserved address"),
        ("240.0.0.1", "a reserved address"),
        ("fd00:ec2::254", "the address of a metadata service"),
        ("100.100.100.200", "the address of a metadata service"),
        ("10.0.0.2", "the Console itself on port 8083"),
        ("::ffff:10.0.0.2", "the Console itself on port 8083"),
    ],
)
def test_a_special_address_is_refused(address: str, kind: str) -> None:
    """In every spelling, also those that a translator turns into it."""
    why = POLICY.refusal_reason("hooks.test", ip_address(address), 8083)

    assert why is not None
    assert f"which is {kind}; " in why
    assert "ALERT_TARGETS_ALLOWED" in why


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("10.0.0.9", 8083),
        ("10.0.0.1", 514),
        ("172.16.0.1", 443),
        ("192.168.1.1", 80),
        ("100.64.0.1", 443),
        ("8.8.8.8", 443),
        ("fd00::1", 443),
        ("2606:4700::1", 443),
    ],
)
def test_other_addresses_are_allowed(address: str, port: int) -> None:
    """A relay in the private network is what most people have."""
    assert POLICY.refusal_reason("hooks.test", ip_address(address), port) is None


@pytest.mark.parametrize(
    ("allowed", "address", "is_allowed"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8", "169.254.169.254", False),
        ("::1/128", "::1", True),
        ("10.0.0.2/32", "10.0.0.2", True),
        ("10.0.0.2/32", "10.0.0.1", False),
    ],
)
def test_the_settings_allow_networks(
    allowed: str, address: str, is_allowed: bool
) -> None:
    """Those that are named, and no others."""
    policy = TargetPolicy((ip_network(allowed),), NODES, frozenset(), PORTS)

    assert (
        policy.refusal_reason("x", ip_address(address), 27017) is None
    ) is is_allowed


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("localhost", False),
        ("LOCALHOST.", False),
        ("a.localhost", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("127.1", False),
        ("2130706433", False),
        ("0x7F000001", False),
        ("0177.0.0.1", False),
        ("0", False),
        ("fe80::1%eth0", False),
        ("10.0.0.9", True),
        ("10.9", True),
        ("127.0.0.1.2", True),
        ("127.256.1", True),
        ("4294967296", True),
        ("08.1", True),
        ("hooks.test", True),
        ("localhost.test", True),
    ],
)
def test_what_needs_no_look_up_is_judged_at_once(host: str, is_allowed: bool) -> None:
    """A mistake is told when the settings are saved, if it can be."""
    assert (POLICY.literal_refusal_reason(host, 443) is None) is is_allowed


def test_the_consoles_own_name_is_refused_on_its_ports() -> None:
    """It leads to the load balancer, and so to a node."""
    balancer = ip_address("10.0.0.100")

    assert POLICY.refusal_reason("Console.test", balancer, 8083) is not None
    assert POLICY.refusal_reason("console.test", balancer, 9000) is None


def test_a_further_node_is_known() -> None:
    """Addresses of this host count as a node's, whatever the settings call it."""
    address = ip_address("192.0.2.8")

    assert POLICY.refusal_reason("x", address, 27017) is None
    assert POLICY.with_nodes([address]).refusal_reason("x", address, 27017) is not None


def test_an_address_is_named_once() -> None:
    """Where it was written as an address, nothing leads anywhere."""
    why = POLICY.refusal_reason("127.0.0.1", ip_address("127.0.0.1"), 1)

    assert why is not None
    assert why.startswith("127.0.0.1, which is a loopback address; ")
