"""Files for load balancers, made for a cluster; each is read by the real program."""

import re

import pytest

from plugins.ha.load_balancer.files import IN_CHECKOUT, for_cluster
from plugins.ha.load_balancer.templates import (
    EXAMPLE_NODES,
    FILES,
    LoadBalancedCluster,
    LoadBalancerKind,
    render,
)
from tests.ha.messages import cluster, node
from twistlock_console.common.errors import Refused
from twistlock_console.settings import Settings

NODES = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
NGINX = pytest.mark.needs("nginx", root=True)
FRONT = LoadBalancedCluster(NODES, "console.test", 9083, 9443, 9084)


def example(kind: LoadBalancerKind) -> str:
    """The file that is shipped."""
    return (IN_CHECKOUT / FILES[kind]).read_text()


@pytest.mark.parametrize("kind", LoadBalancerKind)
def test_nothing_of_the_example_is_left(kind: LoadBalancerKind) -> None:
    """A forgotten address would send users to a stranger."""
    text = render(example(kind), FRONT)

    assert re.findall(r"10\.0\.0\.1[123]|\b8[04][48][34]\b|example\.com", text) == []
    assert all(node in text for node in NODES)
    assert "pages: " not in text


@pytest.mark.parametrize("kind", LoadBalancerKind)
def test_the_example_of_a_cluster_like_it_is_itself(kind: LoadBalancerKind) -> None:
    """What is shipped can be read as it is, and differs only in marks."""
    front = LoadBalancedCluster(EXAMPLE_NODES, "console.example.com", 8083, 8443, 8084)
    marked = [line for line in example(kind).splitlines() if "# pages: " not in line]

    assert render(example(kind), front).splitlines() == marked


@pytest.mark.parametrize("kind", LoadBalancerKind)
def test_fewer_nodes_and_no_second_port(kind: LoadBalancerKind) -> None:
    """A cluster that lost a node has a load balancer too."""
    text = render(
        example(kind), LoadBalancedCluster(NODES[:2], "console.test", 8083, None, 8084)
    )

    assert NODES[1] in text
    assert "10.0.0.13" not in text
    assert "8443" not in text
    assert "node3" not in text


def test_it_is_made_of_settings_and_the_nodes_that_joined() -> None:
    """Hosts that only ask to join are not behind it yet."""
    settings = Settings(node_address=NODES[0], console_san=("console.test",))
    states = ("PRIMARY", "UNAVAILABLE", "REQUEST_JOIN")
    shown = cluster(map(node, NODES, states))
    text = for_cluster(LoadBalancerKind.DNS, settings, shown.joined_addresses)

    assert f"host-record=console.test,{NODES[1]},5" in text
    assert NODES[2] not in text


def test_without_nodes_there_is_nothing_to_make() -> None:
    """A node that does not know its cluster says so."""
    with pytest.raises(Refused, match="has 0 nodes"):
        for_cluster(LoadBalancerKind.AWS, Settings(node_address=NODES[0]), [])
