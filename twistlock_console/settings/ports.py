"""Whether the node's ports are free before it starts."""

import errno
from collections.abc import Iterator

from twistlock_console.common.errors import SettingsError
from twistlock_console.settings.host import bind_problem
from twistlock_console.settings.values import Settings


def listeners(settings: Settings) -> Iterator[tuple[str, int | None, tuple[str, ...]]]:
    """Give each key of a port, its port and the addresses it is opened on."""
    everywhere, ours = settings.service_addresses, settings.private_addresses
    yield "MANAGEMENT_PORT_HTTPS", settings.management_port_https, everywhere
    yield "MANAGEMENT_PORT_UI", settings.management_port_ui, everywhere
    yield "COMMUNICATION_PORT", settings.communication_port, everywhere
    yield "HIGH_AVAILABILITY_PORT", settings.node_api_port, ours
    yield "DATABASE_PORT", settings.database_port, ours


def check_ports_free(settings: Settings) -> None:
    """Refuse with SettingsError if a port cannot be opened, now or as primary.

    Service ports are checked on a standby too: it may have to open them later.
    """
    problems = [
        _sentence(key, port, address, problem)
        for key, port, addresses in listeners(settings)
        if port is not None
        for address in addresses
        if (problem := bind_problem(address, port))
    ]
    if problems:
        raise SettingsError("\n".join(problems))


def _sentence(key: str, port: int, address: str, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"{key}: port {port} on {address} is taken by another program; "
            "end that program or choose another port"
        )
    return f"{key}: port {port} on {address} cannot be opened: {problem.strerror}"
