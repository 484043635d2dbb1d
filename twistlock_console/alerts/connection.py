"""Connect to the target of an alert: to checked addresses only, within a deadline.

A name is resolved once, and the connection goes to an address that was checked. So a
name that resolves to another address a moment later (DNS rebinding) gains nothing.
"""

import queue
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any

from twistlock_console.alerts.targets import Address, TargetPolicy
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import Refused
from twistlock_console.database.client import Db
from twistlock_console.settings import Settings

#: Each name resolution that hangs holds a thread; further ones are refused meanwhile.
MAX_LOOKUPS = 8
_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)


def current_policy(settings: Settings, database: Db) -> TargetPolicy:
    """Return the policy for targets of alerts in force now. Raises PyMongoError."""
    hosts = database.client.admin.command("hello").get("hosts", [])
    members = [str(host).rpartition(":")[0] for host in hosts]
    ports = (
        settings.management_port_https,
        settings.management_port_ui,
        settings.communication_port,
        settings.node_api_port,
        settings.database_port,
    )
    names = (settings.console_cn, *settings.console_san)
    return TargetPolicy(
        allowed=settings.alert_targets_allowed,
        nodes=frozenset(_parse_addresses([*members, settings.node_address, *names])),
        names=frozenset(name.lower() for name in names),
        ports=frozenset(port for port in ports if port),
    )


def _parse_addresses(texts: Iterable[str]) -> Iterable[Address]:
    for text in texts:
        with suppress(ValueError):
            yield ip_address(text)


class NotDelivered(Refused):
    """An alert was not delivered; *detail* is for the log alone.

    The sentence does not describe how a port answered. A user who may set the target
    of alerts must not learn from it which ports of a host are open.
    """

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a host in the form of the socket module."""

    family: socket.AddressFamily
    address: Any

    @property
    def ip(self) -> Address:
        """Return the address without the port."""
        return ip_address(self.address[0])


class Deadline:
    """The deadline of one delivery, counted on the boot-time clock."""

    def __init__(self, seconds: float) -> None:
        self._at = boottime_ns() + round(seconds * SECOND)

    @property
    def is_over(self) -> bool:
        """Return whether no time is left."""
        return boottime_ns() >= self._at

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the deadline. Raises TimeoutError after it."""
        if self.is_over:
            raise TimeoutError
        return (self._at - boottime_ns()) / SECOND


def resolve_allowed(
    host: str, port: int, policy: TargetPolicy, deadline: Deadline
) -> list[Endpoint]:
    """Resolve *host* and return the addresses that *policy* allows.

    Raises:
        NotDelivered: the name cannot be resolved, or no address is allowed.

    """
    try:
        found = _resolve(host, port, deadline.seconds_left)
    except (OSError, UnicodeError) as error:
        raise NotDelivered(f"{host}: {describe_error(error)}") from error
    policy = policy.with_nodes(each.ip for each in found if _is_local(each))
    refusals = {each: policy.refusal_reason(host, each.ip, port) for each in found}
    allowed = [each for each, why in refusals.items() if why is None]
    if not allowed:
        reason = next(iter(refusals.values()), None)
        raise NotDelivered(reason or f"{host} has no address")
    return allowed


def _is_local(endpoint: Endpoint) -> bool:
    with socket.socket(endpoint.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((endpoint.address[0], 0, *endpoint.address[2:]))
        except OSError:
            return False
    return True


def _resolve(host: str, port: int, seconds: float) -> list[Endpoint]:
    """Resolve *host* on a thread, because the system's resolver has no timeout."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if not _lookups.acquire(blocking=False):
        raise socket.gaierror(socket.EAI_AGAIN, "too many names are being resolved")

    def work() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(error)
        finally:
            _lookups.release()

    threading.Thread(target=work, name="resolver", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise socket.gaierror(
            socket.EAI_AGAIN, "the name server did not answer in time"
        ) from None
    if isinstance(found, Exception):
        raise found
    return [Endpoint(family, address) for family, _, _, _, address in found]


@contextmanager
def open_connection(
    endpoints: list[Endpoint], deadline: Deadline, tls_name: str | None = None
) -> Iterator[socket.socket]:
    """Yield a connection to the first of *endpoints* that accepts one.

    Args:
        endpoints: the addresses to try in order.
        deadline: the end of connecting and of the use of the connection.
        tls_name: the name that the host's certificate must have; None for no TLS.

    Raises:
        OSError: no endpoint accepted, or the deadline passed.

    """
    sock = _connect(endpoints, deadline)
    if tls_name is not None:
        sock = ssl.create_default_context().wrap_socket(
            sock, server_hostname=tls_name, do_handshake_on_connect=False
        )
    try:
        with _shut_down_at(deadline, sock):
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            yield sock
    finally:
        sock.close()


@contextmanager
def _shut_down_at(deadline: Deadline, sock: socket.socket) -> Iterator[None]:
    """Shut down the connection at the deadline, and raise TimeoutError then.

    A socket timeout bounds each read alone: a peer that sends single bytes would
    evade it.
    """
    cut = threading.Timer(deadline.seconds_left, _shut_down, args=[sock])
    cut.daemon = True
    cut.start()
    try:
        yield
    except (OSError, HTTPException) as error:
        if deadline.is_over:
            raise TimeoutError from error
        raise
    finally:
        cut.cancel()
    if deadline.is_over:
        raise TimeoutError


def _connect(endpoints: list[Endpoint], deadline: Deadline) -> socket.socket:
    failure: OSError = TimeoutError()
    for number, endpoint in enumerate(endpoints):
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.seconds_left / (len(endpoints) - number))
            sock.connect(endpoint.address)
            sock.settimeout(deadline.seconds_left)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket.shutdown, which removes TLS while another thread reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
