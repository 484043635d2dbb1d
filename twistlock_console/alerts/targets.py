"""Decide which addresses alerts may be sent to. Pure.

An administrator of the Console is not the administrator of its hosts. So a webhook must
not reach services that listen for their own host alone, nor the private ports of the
Console's nodes (server-side request forgery).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "ALERT_TARGETS_ALLOWED"
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_NAT64 = IPv6Network("64:ff9b::/96")
#: Metadata services of clouds that are not link-local: AWS over IPv6, Alibaba, Azure
#: and Oracle.
_METADATA = frozenset(
    ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_KINDS: tuple[tuple[str, Callable[[Address], bool]], ...] = (
    ("a loopback address", lambda a: a.is_loopback),
    ("a link-local address", lambda a: a.is_link_local),
    ("no address of a host", lambda a: a.is_unspecified or a in _THIS_NETWORK),
    ("a multicast address", lambda a: a.is_multicast),
    ("a reserved address", lambda a: a.is_reserved),
    ("the address of a metadata service", lambda a: a in _METADATA),
)


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """Refuses addresses of special use unless the settings allow them.

    Attributes:
        allowed: networks that the settings allow.
        nodes: addresses of the Console's nodes.
        names: names of the Console.
        ports: ports that the nodes listen on.

    """

    allowed: tuple[Network, ...] = ()
    nodes: frozenset[Address] = frozenset()
    names: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()

    def with_nodes(self, nodes: Iterable[Address]) -> "TargetPolicy":
        """Return a policy with the addresses *nodes* added."""
        return replace(self, nodes=self.nodes.union(nodes))

    def refusal_reason(self, host: str, address: Address, port: int) -> str | None:
        """Return why nothing may be sent to *host* at *address*; None if it may."""
        for each in _reached_addresses(address):
            if any(_is_in(each, network) for network in self.allowed):
                continue
            if kind := self._kind(host, each, port):
                named = "" if host == str(each) else f"{host} leads to "
                return (
                    f"{named}{each}, which is {kind}; no alerts are sent there unless "
                    f"{each} is in {SETTING} in twistlock.cfg"
                )
        return None

    def literal_refusal_reason(self, host: str, port: int) -> str | None:
        """Return the refusal for a *host* that is an address or `localhost`.

        Return None for any other name: it is checked when it is resolved.
        """
        name = _normalize(host)
        local = name == "localhost" or name.endswith(".localhost")
        address = IPv4Address("127.0.0.1") if local else _parse_literal(name)
        return self.refusal_reason(host, address, port) if address else None

    def _kind(self, host: str, address: Address, port: int) -> str | None:
        kind = next((kind for kind, fits in _KINDS if fits(address)), None)
        ours = address in self.nodes or _normalize(host) in self.names
        if kind is None and ours and port in self.ports:
            return f"the Console itself on port {port}"
        return kind


def _parse_literal(name: str) -> Address | None:
    """Return the address in *name*, in any form that inet_aton(3) accepts, or None."""
    with suppress(ValueError):
        return ip_address(name)
    *first, last = name.split(".")
    with suppress(ValueError):
        numbers, rest = [_parse_number(part) for part in first], _parse_number(last)
        fits = len(numbers) < 4 and rest < 256 ** (4 - len(numbers))
        if fits and all(number < 256 for number in numbers):
            whole = sum(n << 8 * (3 - place) for place, n in enumerate(numbers))
            return IPv4Address(whole + rest)
    return None


def _parse_number(text: str) -> int:
    """Read a part of an address as inet_aton(3) does; raises ValueError."""
    if not re.fullmatch("0x[0-9a-f]{1,12}|[0-9]{1,12}", text):
        raise ValueError(text)
    return int(text, 16 if text.startswith("0x") else 8 if text[0] == "0" else 10)


def _normalize(host: str) -> str:
    return host.rstrip(".").lower()


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _reached_addresses(address: Address) -> Iterator[Address]:
    """Yield *address*, or the IPv4 addresses that it is translated to."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        yield from filter(None, (address.sixtofour, *(address.teredo or ())))
