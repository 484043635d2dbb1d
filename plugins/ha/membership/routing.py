"""Whether an address is on a network of this host, or behind a router.

Pure; the table is what Linux shows in /proc/net/route.
"""

from ipaddress import IPv4Address, IPv4Network

_UP = 0x1
_GATEWAY = 0x2


def is_routed(address: str, table: str) -> bool:
    """Whether the most exact route to *address* in *table* leads through a router.

    This host's own addresses are in no such table and count as near, and so does
    every address if there is no route at all: then it could not have asked.
    """
    sought = IPv4Address(address)
    routes = [_route(line.split()) for line in table.splitlines()[1:]]
    fitting = [(net, flags) for net, flags in routes if sought in net and flags & _UP]
    if sought.is_loopback or not fitting:
        return False
    return bool(max(fitting, key=lambda route: route[0].prefixlen)[1] & _GATEWAY)


def _route(columns: list[str]) -> tuple[IPv4Network, int]:
    """One line: interface, destination, gateway, flags, …, mask in column 7."""
    destination, mask = _address(columns[1]), _address(columns[7])
    return IPv4Network(f"{destination}/{mask}", strict=False), int(columns[3], 16)


def _address(text: str) -> IPv4Address:
    # The bytes stand in the order of the processor: on x86-64 the last one first.
    return IPv4Address(bytes.fromhex(text)[::-1])
