"""Parse the text of one value.

Each parser raises ValueError, whose text describes a valid value.
"""

import re
from collections.abc import Callable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path

from twistlock_console.settings.values import LogFormat

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DECIMAL = re.compile(r"[0-9]{1,5}(\.[0-9]{0,9})?|\.[0-9]{1,9}")
_DNS_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*(?!\d+$){_LABEL}")


def port(text: str) -> int:
    """Parse a TCP port."""
    return _whole_number(text, 1, 65_535, "a port is a number")


def port_or_none(text: str) -> int | None:
    """Parse a TCP port; "" disables the listener."""
    return port(text) if text else None


def true_or_false(text: str) -> bool:
    """Parse true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return text.lower() == "true"


def log_format(text: str) -> LogFormat:
    """Parse the format of the log."""
    if text.lower() not in LogFormat.__members__.values():
        raise ValueError("write json or human")
    return LogFormat(text.lower())


def address(text: str) -> str:
    """Parse an IPv4 address that a host can have; "" means: find it."""
    try:
        wrong = bool(text) and not _belongs_to_a_host(IPv4Address(text))
    except AddressValueError:
        wrong = True
    if wrong:
        raise ValueError("write an IPv4 address of this host, or nothing to find it")
    return text


def common_name(text: str) -> str:
    """Parse a certificate's common name; "" means: find it.

    It is among the certificate's names too, which hold no other characters, and the
    addresses among them in one form.
    """
    if len(text) > 64 or not (text.isascii() and text.isprintable()) or "%" in text:
        raise ValueError("a common name has at most 64 letters of ASCII, and no %")
    try:
        return _name(text)
    except ValueError:
        return text


def names(text: str) -> tuple[str, ...]:
    """Parse DNS names and IP addresses, also with ``DNS:`` or ``IP:`` before them."""
    found = [_name(part.strip()) for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(found))


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse networks and addresses, separated by commas."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(dict.fromkeys(ip_network(part) for part in parts))
    except ValueError as error:
        raise ValueError(
            "write networks like 127.0.0.0/8 or fd00::/8, or addresses, with commas "
            "between; the address of a network has no bits beyond its length"
        ) from error


def proxies(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse IP addresses and networks like 10.0.0.0/24, separated by commas."""
    found = [_network(part.strip()) for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(found))


def folder(text: str) -> Path:
    """Parse an absolute path without `..`."""
    if not Path(text).is_absolute() or not text.isprintable():
        raise ValueError("write a full path that begins with /")
    if ".." in Path(text).parts:
        # The unit may not have it, and behind a link it leads elsewhere.
        raise ValueError("write the path without ..")
    return Path(text)


def file(text: str) -> Path | None:
    """Parse the absolute path of a file; "" means: there is none."""
    return folder(text) if text else None


def cache(text: str) -> float:
    """Parse gigabytes within MongoDB's own limits; "" means 0.5."""
    # float() would accept underscores, and digits of any script.
    size = float(text or "0.5") if _DECIMAL.fullmatch(text or "0.5") else 0
    if not 0.25 <= size <= 10_000:
        raise ValueError("write a number of gigabytes from 0.25 to 10000")
    return size


def milliseconds(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole milliseconds from *low* to *high*."""
    return lambda text: _whole_number(text, low, high, "write whole milliseconds")


def _whole_number(text: str, low: int, high: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise ValueError(f"{what} from {low} to {high}")
    return int(text)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is neither an IP address nor a network like 10.0.0.0/24; "
            "write them with commas between"
        ) from None
    if found.ip != found.network.network_address:
        raise ValueError(
            f"{text[:80]!r} is an address in a network; write {found.network} for the "
            f"network, or {found.ip} for the address alone"
        )
    if found.network.prefixlen == 0:
        raise ValueError(
            f"{text[:80]!r} stands for all addresses; name the proxies' own"
        )
    return _without_mapping(found.network)


def _without_mapping(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the IPv4 network that *network* is, if it is one written as IPv6."""
    mapped = isinstance(network, IPv6Network) and network.network_address.ipv4_mapped
    if not mapped or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def _belongs_to_a_host(value: IPv4Address) -> bool:
    return not (value.is_unspecified or value.is_multicast or value.is_reserved)


def _name(text: str) -> str:
    kind, prefix, rest = text.partition(":")
    name = rest if prefix and kind.upper() in ("DNS", "IP") else text
    try:
        parsed = ip_address(name)
    except ValueError:
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            raise ValueError(
                f"{name[:80]!r} is neither a DNS name nor an IP address; "
                "write them with commas between"
            ) from None
        return name
    if "%" in name:
        raise ValueError(
            f"{name[:80]!r} is an address of one host's network interface; no "
            "certificate can name it"
        )
    return str(parsed)
