"""Firewall rules (nftables) for the ports that only nodes may reach."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

TABLE = "twistlock"
TEMPLATE = """\
#!/usr/sbin/nft -f
# Only the nodes of the cluster reach MongoDB and the node API on {own}.
# Made by `twistlock-console firewall`; make them again when nodes join or leave.
table inet {table}
delete table inet {table}
table inet {table} {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "lo" accept
{accepted}\
        tcp dport {ports} reject with tcp reset
    }}
}}
"""
ACCEPT_RULE = "        ip saddr {addresses} tcp dport {ports} accept\n"


def firewall_rules(own: str, others: Iterable[str], ports: Sequence[int]) -> str:
    """Return a file for `nft -f` that lets only *others* reach *ports* from outside.

    It replaces the rules that it set before, and touches no other table.

    Args:
        own: the address of this node.
        others: the addresses of the other nodes, and of hosts that are to join.
        ports: the TCP ports.

    """
    nodes = sorted({IPv4Address(address) for address in others} - {IPv4Address(own)})
    allowed = _set(str(node) for node in nodes)
    listed = _set(str(port) for port in sorted(ports))
    accepted = ACCEPT_RULE.format(addresses=allowed, ports=listed) if nodes else ""
    return TEMPLATE.format(own=own, table=TABLE, accepted=accepted, ports=listed)


def _set(elements: Iterable[str]) -> str:
    return "{ " + ", ".join(elements) + " }"
