"""The address by which the connections of one client are counted."""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Network = IPv4Network | IPv6Network
IPV6_HOST_PREFIX = 64


@lru_cache(maxsize=8192)
def client_key(address: str) -> str:
    """Return what stands for the client at *address*.

    An IPv6 host has a whole /64 network to choose addresses from, so that network
    counts as one client. An IPv4 address that is written as IPv6 is that address.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, IPV6_HOST_PREFIX), strict=False))


class TrustedProxies:
    """The networks whose connections come from many clients.

    No limit per address holds for them.
    """

    def __init__(self, networks: Collection[Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, key: object) -> bool:
        """Say whether the client with this *key* is such a proxy."""
        if not self._networks or not isinstance(key, str):
            return False
        try:
            found = ip_network(key)
        except ValueError:
            return False
        # An IPv6 proxy counts by its network, as every IPv6 client does.
        return any(found.overlaps(network) for network in self._networks)
